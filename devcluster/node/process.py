"""One run of a container: its supervisor process, its log and its end."""

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from .errors import ContainerConfigError, StartError
from .logs import LogWriter
from .supervisor import Launch

_CHUNK_BYTES = 1 << 16
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]
_KILLED = 137


class ContainerProcess:
    """A running container. ``pid`` is the program's process id on this machine."""

    def __init__(
        self,
        pid: int,
        supervisor: asyncio.subprocess.Process,
        reports: asyncio.StreamReader,
        pump: "asyncio.Task[None]",
    ) -> None:
        self.pid = pid
        self._supervisor = supervisor
        self._pump = pump
        self._end = asyncio.create_task(self._wait(reports))

    @classmethod
    async def start(cls, launch: Launch, log_path: Path) -> "ContainerProcess":
        """Starts the program and returns once it runs.

        Raises:
            ContainerConfigError: Its volumes can't be mounted.
            StartError: It can't be executed.
        """
        reader, writer = os.pipe()
        try:
            supervisor = await asyncio.create_subprocess_exec(
                sys.executable, "-S", "-m", "devcluster.node.supervisor", str(writer),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env={"PYTHONPATH": str(_PACKAGE_ROOT), "PATH": os.defpath},
                pass_fds=(writer,),
                start_new_session=True,
            )  # fmt: skip
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        reports = asyncio.StreamReader()
        pipe = os.fdopen(reader, "rb")
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reports), pipe)
        log = LogWriter(log_path)
        pump = asyncio.create_task(_pump(supervisor, log))
        if supervisor.stdin is None:
            raise StartError("the supervisor has no standard input")
        with suppress(BrokenPipeError, ConnectionResetError):
            supervisor.stdin.write(launch.encode())
            await supervisor.stdin.drain()
            supervisor.stdin.close()
        first = json.loads(await reports.readline() or b'{"error": "the supervisor ended", "kind": "start"}')
        if "error" in first:
            await supervisor.wait()
            await pump
            raise (ContainerConfigError if first["kind"] == "mount" else StartError)(first["error"])
        return cls(first["pid"], supervisor, reports, pump)

    async def _wait(self, reports: asyncio.StreamReader) -> int:
        last = await reports.readline()
        await self._supervisor.wait()
        await self._pump
        # A supervisor that was killed takes its program along without a report.
        return int(json.loads(last)["exit"]) if last else _KILLED

    async def wait(self) -> int:
        """Returns the exit code (128 + n after signal n), once everything the program started is gone and its
        last output is in the log."""
        return await asyncio.shield(self._end)

    def terminate(self) -> None:
        """Asks the program to end: SIGTERM to it alone, as to process 1 of a container."""
        if not self._end.done():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kills the program and everything it started."""
        if self._supervisor.returncode is None:
            with suppress(ProcessLookupError):
                self._supervisor.terminate()


async def _pump(supervisor: asyncio.subprocess.Process, log: LogWriter) -> None:
    if supervisor.stdout is None:
        return
    try:
        while chunk := await supervisor.stdout.read(_CHUNK_BYTES):
            log.write(chunk)
    finally:
        log.close()
