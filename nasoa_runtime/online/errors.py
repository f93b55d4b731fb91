"""The typed failure of reading a predictor's state."""

from __future__ import annotations


class UnreadableState(ValueError):  # noqa: N818 - it says what is unreadable
    """Bytes that are no predictor state this version can read. The object they came from must be left untouched."""
