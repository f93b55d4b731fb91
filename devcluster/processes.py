"""Processes that end with the one that started them, and ends that never hit a stranger.

A process id is reused once its process is gone. An `Identity` therefore adds when the process started and in which
boot, and signals go through a process file descriptor that is opened before the identity is compared.
"""

import ctypes
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Identity:
    """One process for ever: its id, its start in clock ticks since the boot, and the boot."""

    pid: int
    start_ticks: int
    boot: str


@dataclass(frozen=True)
class Stat:
    """The fields of ``/proc/PID/stat`` that are used here."""

    state: str
    parent: int
    start_ticks: int


def parse_stat(text: str) -> Stat:
    """Reads a line of ``/proc/PID/stat``, whose second field may itself hold spaces and parentheses."""
    fields = text.rpartition(")")[2].split()
    return Stat(fields[0], int(fields[1]), int(fields[19]))


def _stat(pid: int) -> Stat | None:
    try:
        return parse_stat(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace"))
    except (OSError, IndexError, ValueError):
        return None


def identify(pid: int) -> Identity | None:
    """The identity of a process that lives; None for one that is gone or only waits to be reaped."""
    stat = _stat(pid)
    if stat is None or stat.state in {"Z", "X"}:
        return None
    return Identity(pid, stat.start_ticks, _BOOT.read_text(encoding="ascii").strip())


def own_identity() -> Identity:
    """The identity of this process."""
    found = identify(os.getpid())
    if found is None:
        raise RuntimeError("/proc does not show this process: devcluster needs Linux with /proc mounted")
    return found


def alive(identity: Identity) -> bool:
    """Whether exactly this process still runs."""
    return identify(identity.pid) == identity


def handle(identity: Identity) -> int | None:
    """A process file descriptor of this very process, readable once it has ended; None if it is gone."""
    try:
        descriptor = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return None
    # The descriptor is of whatever had the id when it was opened: only now is the comparison worth something.
    if alive(identity):
        return descriptor
    os.close(descriptor)
    return None


def end(identity: Identity, *, grace_seconds: float) -> None:
    """Asks a process to end and kills it when the grace is over. One that is gone is no error."""
    descriptor = handle(identity)
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

    def tie() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have ended before the request reached the kernel.
        if os.getppid() != parent:
            os._exit(128 + signal.SIGKILL)

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
            preexec_fn=tie,  # noqa: PLW1509 (whoever calls this has no other thread)
        )


def become_subreaper() -> None:
    """Makes orphans among this process's descendants its own children, so that none gets away."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def children() -> list[int]:
    """The ids of this process's children, unreaped ones among them."""
    own = os.getpid()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            stat = _stat(int(entry.name))
            if stat is not None and stat.parent == own:
                found.append(int(entry.name))
    return found


def kill_descendants(*, limit_seconds: float = 10.0) -> None:
    """Kills every descendant of a subreaper: as orphans become children, killing children ends with none left."""
    deadline = time.monotonic() + limit_seconds
    while time.monotonic() < deadline:
        present = children()
        if not present:
            return
        for pid in present:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in present:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def reap_orphans(own: set[int]) -> None:
    """Reaps ended children except those in ``own``, whose end somebody else waits for."""
    for pid in children():
        if pid not in own:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
