"""How a pod's program ends when it does not end well; each failure has one exit code (:mod:`.main`)."""

from __future__ import annotations


class BadInputError(Exception):
    """The input can't be used: the message names the field or object, and says what to write instead."""


class DivergedError(Exception):
    """The loss became NaN or infinite."""


class OutOfMemoryError(Exception):
    """The network does not fit into the device's memory at this batch and image size."""


class TimedOutError(Exception):
    """The program's own time limit struck: another attempt would end the same way."""


class StoppedError(BaseException):
    """SIGTERM arrived. Not an ``Exception``, so that no library swallows it on its way out."""
