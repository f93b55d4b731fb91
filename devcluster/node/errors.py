"""The errors that decide what a pod shows and whether the node tries again."""


class ContainerConfigError(Exception):
    """A container can't be started as it is described now; it is tried again later."""

    reason = "CreateContainerConfigError"


class VolumeNotReadyError(Exception):
    """A volume's source does not exist yet, or is of a kind this node can't provide; it is tried again later."""


class StartError(Exception):
    """The program could not be executed: this attempt of the container has ended."""

    reason = "StartError"
    exit_code = 128


class ApiError(Exception):
    """The API server refused a request, or could not be reached (``status`` 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
