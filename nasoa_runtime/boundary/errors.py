"""What can be wrong with a document that has crossed the boundary."""

from __future__ import annotations

from collections.abc import Iterable


class BoundaryError(ValueError):
    """The document can't be used; the message says why in one line."""


class InvalidDocumentError(BoundaryError):
    """It is not JSON, or its fields are not those that its program has; the message is the first problem."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(problems[0])
        self.problems = problems


class UnknownProgramError(BoundaryError):
    """There is no program of the name that it gives, or it gives none."""

    def __init__(self, name: object, known: Iterable[str]) -> None:
        super().__init__(f"program: there is no program {repr(name)[:60]}; there are {', '.join(known)}")


class WrongProgramError(BoundaryError):
    """It is of another program than the one that was asked for."""

    def __init__(self, kind: str, found: str, wanted: str) -> None:
        super().__init__(f"{kind} of {found}, not {wanted}")
        self.found, self.wanted = found, wanted
