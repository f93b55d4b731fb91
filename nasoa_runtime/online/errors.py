"""The typed failures of reading what a predictor works on."""

from __future__ import annotations


class UnreadableState(ValueError):  # noqa: N818 - it says what is unreadable
    """Bytes that are no predictor state this version can read. The object they came from must be left untouched."""


class InvalidDescription(ValueError):  # noqa: N818 - it says what is invalid
    """A run is not described as the predictor's table of features asks for; names the feature."""

    def __init__(self, feature: str, problem: str) -> None:
        super().__init__(f"feature {feature!r} {problem}")
        self.feature = feature
