"""Runs one container's program and outlives neither the node nor leaves anything of the program behind.

``python -m devcluster.node.shim FD`` reads a JSON document from standard input (see `Launch`), starts the
program in its own session, and writes JSON lines to the file descriptor FD: ``{"pid": n}`` once the program runs,
``{"error": ..., "kind": "mount" | "start"}`` if it can't, ``{"exit": code}`` when it has ended and every process it
started has been killed. It kills all of them at once when it gets SIGTERM, which the kernel also sends when the node
has died in whatever way.
"""

import json
import math
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial

from devcluster.node.private_root import Mount, PrivateRoot, enter_namespace
from devcluster.prctl import become_subreaper, die_with_parent

_HANDLED = {signal.SIGCHLD, signal.SIGTERM}


@dataclass(frozen=True)
class Launch:
    """What to run. ``root`` is an empty directory for the private root, or empty for none."""

    arguments: list[str]
    variables: dict[str, str]
    directory: str
    parent: int
    root: str = ""
    mounts: list[Mount] = field(default_factory=list)
    cpus: list[int] = field(default_factory=list)

    def encode(self) -> bytes:
        """The document that the shim reads."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, document: bytes) -> "Launch":
        """The reverse of `encode`."""
        fields = json.loads(document)
        return cls(**fields | {"mounts": [Mount(**one) for one in fields["mounts"]]})


class _SetupError(Exception):
    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def _enter_root(launch: Launch) -> None:
    try:
        enter_namespace()
        root = PrivateRoot(launch.root)
        root.build(launch.mounts)
        root.shared_memory()
        root.ensure_directory(launch.directory)
        root.enter()
    except OSError as error:
        raise _SetupError("mount", str(error)) from error


def _program(launch: Launch, shim: int) -> None:
    """Becomes the program. Returns only by raising."""
    os.setsid()
    die_with_parent(shim, signal.SIGKILL)
    if launch.root:
        _enter_root(launch)
    try:
        os.chdir(launch.directory)
        if launch.cpus:
            os.sched_setaffinity(0, launch.cpus)
    except OSError as error:
        raise _SetupError("start", f"can't enter workingDir: {error}") from error
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
    program = launch.arguments[0]
    try:
        os.execvpe(program, launch.arguments, launch.variables)
    except OSError as error:
        raise _SetupError("start", f'exec "{program}": {error.strerror}') from error


def _fork_program(launch: Launch) -> tuple[int, dict[str, str] | None]:
    """Starts the program; returns its process id and what went wrong, once it runs or has failed to."""
    shim = os.getpid()
    reader, writer = os.pipe()  # Closed by a successful exec: then there is nothing to read.
    child = os.fork()
    if child == 0:
        try:
            _program(launch, shim)
        except _SetupError as error:
            os.write(writer, json.dumps({"error": str(error), "kind": error.kind}).encode())
        finally:
            os._exit(127)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        failure = pipe.read()
    return child, json.loads(failure) if failure else None


def _watch(program: int, kill_all: Callable[[], dict[int, int]]) -> int:
    """Waits until the program has ended or the end is requested; returns its wait status, with nothing left."""
    while True:
        if signal.sigwait(_HANDLED) == signal.SIGTERM:
            return kill_all().get(program, signal.SIGKILL)
        while True:
            try:
                child, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if child == 0:
                break
            if child == program:
                kill_all()
                return status


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def main() -> None:
    """The program's entry point."""
    report = int(sys.argv[1])
    os.set_inheritable(report, False)
    launch = Launch.decode(sys.stdin.buffer.read())
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
    die_with_parent(launch.parent, signal.SIGTERM)
    become_subreaper()
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    program, failure = _fork_program(launch)

    def tell(document: dict[str, object]) -> None:
        with suppress(BrokenPipeError):
            os.write(report, json.dumps(document).encode() + b"\n")

    if failure:
        os.waitpid(program, 0)
        tell(dict(failure))
        return
    tell({"pid": program})
    # It brings psutil, which takes as long to load as all of the above: the program runs meanwhile.
    from devcluster.descendants import kill_descendants  # noqa: PLC0415

    # The program alone writes to the log from here on.
    os.dup2(null, 1)
    os.dup2(null, 2)
    tell({"exit": _exit_code(_watch(program, partial(kill_descendants, limit_seconds=math.inf)))})


if __name__ == "__main__":
    main()
