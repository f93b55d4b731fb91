"""How a pod's program ends when it does not end well; each failure has one exit code (:mod:`.main`)."""

from __future__ import annotations


class BlamingError(Exception):
    """A failure that may be the fault of one field of the spec.

    Args:
        message: What is wrong and what to write instead, without the field.
        field: Its path in the spec, such as ``dataset.uri``; ``None`` where no field is to blame.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.message, self.field = message, field

    def __str__(self) -> str:
        return self.message if self.field is None else f"{self.field}: {self.message}"


class BadInputError(BlamingError):
    """The input can't be used."""


class BadDatasetError(BadInputError):
    """The dataset can't be used."""

    def __init__(self, message: str, field: str = "dataset.uri") -> None:
        super().__init__(message, field)


class DivergedError(Exception):
    """The loss became NaN or infinite."""


class OutOfMemoryError(Exception):
    """The network does not fit into the device's memory at this batch and image size."""


class TimedOutError(BlamingError):
    """The program's own time limit struck: another attempt would end the same way."""


class StoppedError(BaseException):
    """SIGTERM arrived. Not an ``Exception``, so that no library swallows it on its way out."""
