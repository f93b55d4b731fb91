"""Keeps components running: starts them, sees that they become ready, starts again what ends unasked."""

import asyncio
import logging
import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from .components import Component
from .probing import Prober
from .processes import ProcessId, identify, spawn

_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.05
_READY_SECONDS = 120.0
_RESTART_SECONDS = 1.0
_RESTARTS = 5
_RESTARTS_WITHIN_SECONDS = 60.0
_TAIL_LINES = 15
_TAIL_BYTES = 16_384


class ComponentError(RuntimeError):
    """A component ended or did not become ready; the message has the end of its log."""


class Unit:
    """One component and the process that it is at the moment."""

    def __init__(
        self,
        component: Component,
        log: Path,
        variables: Mapping[str, str],
        changed: Callable[[], None],
    ) -> None:
        self.component = component
        self.process: subprocess.Popen[bytes] | None = None
        self.process_id: ProcessId | None = None
        self._log = log
        self._variables = variables
        self._changed = changed
        self._ended = asyncio.Event()
        # Only what was ready once is started again; what fails before is a failed start.
        self._keep = False
        self._restart: asyncio.TimerHandle | None = None
        self._restarts: deque[float] = deque(maxlen=_RESTARTS)

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None

    def start(self) -> None:
        """Starts the process; does nothing if it runs."""
        if self.process is not None:
            return
        self._ended.clear()
        # One that was killed with its supervisor had nobody to clean up after it.
        self._remove_leftovers()
        process = spawn(
            self.component.arguments, log=self._log, directory=self.component.directory, variables=self._variables
        )
        self.process, self.process_id = process, identify(process.pid)
        descriptor = os.pidfd_open(process.pid)
        asyncio.get_running_loop().add_reader(descriptor, self._on_end, descriptor)
        self._changed()

    async def ready(self, prober: Prober) -> None:
        """Returns once the component can be used; from then on it is kept running.

        Raises:
            ComponentError: it ended, or took too long.
        """
        health = self.component.health
        try:
            async with asyncio.timeout(_READY_SECONDS):
                while health is not None and not await prober.healthy(health):
                    self.check()
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise ComponentError(self._described(f"was not ready within {_READY_SECONDS:.0f} s")) from None
        self.check()
        self._keep = True

    def check(self) -> None:
        """Raises ComponentError if the process has ended."""
        if self.process is None:
            raise ComponentError(self._described("ended"))

    async def stop(self) -> None:
        """Ends the process and leaves it ended."""
        self._keep = False
        if self._restart is not None:
            self._restart.cancel()
        grace = self.component.grace_seconds
        for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
            if self.process is None:
                break
            if seconds:
                self.process.send_signal(number)
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._ended.wait()
        self._remove_leftovers()

    def _on_end(self, descriptor: int) -> None:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        process, self.process, self.process_id = self.process, None, None
        code = process.wait() if process is not None else None
        self._ended.set()
        self._remove_leftovers()
        self._changed()
        if not self._keep:
            return
        loop = asyncio.get_running_loop()
        if len(self._restarts) == _RESTARTS and loop.time() - self._restarts[0] < _RESTARTS_WITHIN_SECONDS:
            _log.error("%s ended with %s again and again: left ended", self.component.name, code)
            return
        _log.warning("%s ended with %s: started again in %.0f s", self.component.name, code, _RESTART_SECONDS)
        self._restarts.append(loop.time())
        self._restart = loop.call_later(_RESTART_SECONDS, self.start)

    def _remove_leftovers(self) -> None:
        for path in self.component.leftovers:
            with suppress(OSError):
                path.unlink()

    def _described(self, what: str) -> str:
        tail = _tail(self._log)
        return f"{self.component.name} {what}. The end of {self._log}:\n{tail}"


def _tail(path: Path) -> str:
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-_TAIL_LINES:])
    return ""
