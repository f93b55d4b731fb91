"""One run of a container: its shim process, its log and its end."""

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from .errors import ContainerConfigError, StartError
from .logs import LogWriter
from .shim import Launch

_CHUNK_BYTES = 1 << 16
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]
_KILLED = 137


class ContainerProcess:
    """A running container. ``pid`` is the program's process id on this machine."""

    def __init__(
        self,
        pid: int,
        shim: asyncio.subprocess.Process,
        reports: asyncio.StreamReader,
        pump: "asyncio.Task[None]",
    ) -> None:
        self.pid = pid
        self._shim = shim
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
            shim = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "devcluster.node.shim", str(writer),
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
        pump = asyncio.create_task(_pump(shim, log))
        if shim.stdin is None:
            raise StartError("the shim has no standard input")
        with suppress(BrokenPipeError, ConnectionResetError):
            shim.stdin.write(launch.encode())
            await shim.stdin.drain()
            shim.stdin.close()
        first = json.loads(await reports.readline() or b'{"error": "the shim ended", "kind": "start"}')
        if "error" in first:
            await shim.wait()
            await pump
            raise (ContainerConfigError if first["kind"] == "mount" else StartError)(first["error"])
        return cls(first["pid"], shim, reports, pump)

    async def _wait(self, reports: asyncio.StreamReader) -> int:
        last = await reports.readline()
        await self._shim.wait()
        await self._pump
        # A shim that was killed takes its program along without a report.
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
        if self._shim.returncode is None:
            with suppress(ProcessLookupError):
                self._shim.terminate()


async def _pump(shim: asyncio.subprocess.Process, log: LogWriter) -> None:
    if shim.stdout is None:
        return
    try:
        while chunk := await shim.stdout.read(_CHUNK_BYTES):
            log.write(chunk)
    finally:
        log.close()
