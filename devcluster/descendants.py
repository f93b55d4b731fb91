"""The descendants of a subreaper (see `devcluster.prctl`): all of them can be found, reaped and killed."""

import os
import signal
import time
from contextlib import suppress

import psutil


def children() -> list[int]:
    """The ids of this process's children, those that wait to be reaped among them."""
    return [child.pid for child in psutil.Process().children()]


def kill_descendants(*, limit_seconds: float = 10.0) -> dict[int, int]:
    """Kills every descendant: as orphans become children, killing children ends with none left.

    Returns:
        The wait status of each one that was reaped, by its process id.
    """
    ended: dict[int, int] = {}
    deadline = time.monotonic() + limit_seconds
    while time.monotonic() < deadline and (present := children()):
        for pid in present:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in present:
            with suppress(ChildProcessError):
                ended[pid] = os.waitpid(pid, 0)[1]
    return ended


def reap_orphans(own: set[int]) -> None:
    """Reaps ended children except those in ``own``, whose end somebody else waits for."""
    for pid in children():
        if pid not in own:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
