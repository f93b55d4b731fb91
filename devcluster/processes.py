"""Processes that end with the one that started them, and ends that never hit a stranger.

The kernel reuses the id of a process that is gone. A `ProcessId` therefore adds when the process started and in which
boot, and signals go through a process file descriptor that is opened before the two are compared.
"""

import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .prctl import die_with_parent

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class ProcessId:
    """One process for ever: its id, its start in clock ticks since the boot, and the boot."""

    pid: int
    start_ticks: int
    boot: str


@dataclass(frozen=True)
class Stat:
    """The fields of ``/proc/PID/stat`` that are used here."""

    state: str
    start_ticks: int


def parse_stat(text: str) -> Stat:
    """Reads a line of ``/proc/PID/stat``, whose second field may itself hold spaces and parentheses."""
    fields = text.rpartition(")")[2].split()
    return Stat(fields[0], int(fields[19]))


def _stat(pid: int) -> Stat | None:
    try:
        return parse_stat(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace"))
    except (OSError, IndexError, ValueError):
        return None


def identify(pid: int) -> ProcessId | None:
    """Identifies a process that lives; None for one that is gone or only waits to be reaped."""
    stat = _stat(pid)
    if stat is None or stat.state in {"Z", "X"}:
        return None
    return ProcessId(pid, stat.start_ticks, _BOOT.read_text(encoding="ascii").strip())


def own_process_id() -> ProcessId:
    """Identifies this process."""
    found = identify(os.getpid())
    if found is None:
        raise RuntimeError("/proc does not show this process: devcluster needs Linux with /proc mounted")
    return found


def alive(process: ProcessId) -> bool:
    """Whether exactly this process still runs."""
    return identify(process.pid) == process


def handle(process: ProcessId) -> int | None:
    """A process file descriptor of this very process, readable once it has ended; None if it is gone."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    # The descriptor is of whatever had the id when it was opened: only now is the comparison worth something.
    if alive(process):
        return descriptor
    os.close(descriptor)
    return None


def end(process: ProcessId, *, grace_seconds: float) -> None:
    """Asks a process to end and kills it when the grace is over. One that is gone already is not an error."""
    descriptor = handle(process)
    if descriptor is None:
        return
    try:
        for number, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 5.0)):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
            if select.select([descriptor], [], [], seconds)[0]:
                return
    finally:
        os.close(descriptor)


def spawn(
    arguments: Sequence[str],
    *,
    log: Path,
    directory: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> "subprocess.Popen[bytes]":
    """Starts a program in a session of its own that the kernel kills when this process ends, in whatever way.

    Call it from the main thread: the kernel counts the end of the starting thread as the parent's end.
    """
    parent = os.getpid()

    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            list(arguments),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=None if variables is None else dict(variables),
            start_new_session=True,
            preexec_fn=lambda: die_with_parent(parent, signal.SIGKILL),  # noqa: PLW1509 (whoever calls this has no other thread)
        )
