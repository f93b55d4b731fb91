"""Lengths of time as specs write them: ``90m``, ``1h30m``, ``80ms``. Admission and the command line read them alike."""

from __future__ import annotations

import re

_NUMBER = r"[0-9]{1,7}([.][0-9]{1,3})?"
# Fewer digits for hours, so that no sum of parts overflows CEL's durations (292 years).
DURATION_PATTERN = "^([0-9]{1,6}([.][0-9]{1,3})?h)?" + f"({_NUMBER}m)?({_NUMBER}s)?({_NUMBER}ms)?$"
DURATION_MESSAGE = "must be a duration above zero, such as 80ms, 90s, 30m or 1h30m"
_UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(rf"({_NUMBER})(ms|h|m|s)")
LONGEST_SECONDS = 250_000 * 3600.0
"""Longest duration: 28 years."""


def seconds(text: str) -> float:
    """Seconds of a duration such as ``90m``, ``1h30m`` or ``80ms``.

    Raises:
        ValueError: if ``text`` is not a duration, or not above zero.
    """
    if not re.fullmatch(DURATION_PATTERN, text):
        msg = f"{DURATION_MESSAGE}; not {text!r}"
        raise ValueError(msg)
    total = sum(float(number) * _UNIT_SECONDS[unit] for number, _, unit in _PART.findall(text))
    if not 0 < total <= LONGEST_SECONDS:
        msg = f"{DURATION_MESSAGE}; not {text!r}"
        raise ValueError(msg)
    return total


def duration(total_seconds: float) -> str:
    """A duration for people and specs: ``1h30m``, ``48s``, ``80ms``; inverts :func:`seconds` to a millisecond."""
    milliseconds = round(total_seconds * 1000)
    hours, milliseconds = divmod(milliseconds, 3_600_000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    whole, milliseconds = divmod(milliseconds, 1000)
    parts = ((hours, "h"), (minutes, "m"), (whole, "s"), (milliseconds, "ms"))
    return "".join(f"{value}{unit}" for value, unit in parts if value) or "0s"
