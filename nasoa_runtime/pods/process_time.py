"""Seconds since this process was started by the kernel: what the clock of a request counts from."""

from __future__ import annotations

import os
import time
from pathlib import Path

STARTED_VARIABLE = "NASOA_PROCESS_STARTED"
"""Set for the workers of a multi-process run: the start (seconds since boot) of the process that launched them."""


def process_started(stat: str | None = None, ticks_per_second: int | None = None) -> float:
    """Start of this process, in seconds since boot.

    Args:
        stat: Content of ``/proc/self/stat``; read when ``None``.
        ticks_per_second: Kernel clock ticks; asked for when ``None``.

    Returns:
        Field 22 of ``stat`` in seconds. The command name (field 2) may hold spaces and brackets, so fields are
        counted from its last closing bracket.
    """
    inherited = os.environ.get(STARTED_VARIABLE)
    if stat is None and inherited:
        return float(inherited)
    text = Path("/proc/self/stat").read_text() if stat is None else stat
    ticks = int(text.rpartition(")")[2].split()[19])
    return ticks / (ticks_per_second or os.sysconf("SC_CLK_TCK"))


def seconds_since_process_start() -> float:
    """Age of this process in seconds; suspended time counts, as it does for whoever waits."""
    return max(time.clock_gettime(time.CLOCK_BOOTTIME) - process_started(), 0.0)
