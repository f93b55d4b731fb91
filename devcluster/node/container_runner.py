"""Runs the containers of one pod: starts, ends, restarts with back-off, probes."""

import asyncio
import shutil
from contextlib import suppress
from dataclasses import replace
from typing import Any

from . import probes
from .clock import rfc3339
from .environment import Placement
from .errors import ApiError, ContainerConfigError, StartError
from .launching import build_launch
from .logs import log_tail
from .machine import Machine
from .pod_paths import PodPaths
from .pod_state import PodState
from .process import ContainerProcess
from .status import (
    LOG_FALLBACK_BYTES,
    PodRecord,
    Running,
    Terminated,
    Waiting,
    restart_delay_seconds,
    should_restart,
    termination_message,
)
from .volumes import Volume

JSON = dict[str, Any]

_CONFIG_RETRY_SECONDS = 2.0
# A container that ran this long has earned a quick restart again.
_HEALTHY_SECONDS = 600.0


class ContainerRunner:
    """Runs containers of a pod whose volumes are ready."""

    def __init__(
        self, machine: Machine, state: PodState, paths: PodPaths, volumes: dict[str, Volume], placement: Placement
    ) -> None:
        self._machine = machine
        self._state = state
        self._paths = paths
        self._volumes = volumes
        self._placement = placement

    def initialized(self) -> PodRecord:
        """Returns the record of the pod after its init containers: the others are being created."""
        main = tuple(
            replace(one, state=Waiting("ContainerCreating")) if isinstance(one.state, Waiting) else one
            for one in self._state.record.main
        )
        return replace(self._state.record, main=main)

    async def run(self, container: JSON, policy: str) -> bool:
        """Runs a container until it ends for good; returns whether its last run succeeded."""
        name, quick_failures = container["name"], 0
        while True:
            record = self._state.record.container(name)
            ended = record.terminated()
            if ended is not None:
                if self._state.stopping.is_set() or not should_restart(policy, ended.exit_code):
                    return ended.exit_code == 0
                await self._back_off(container, ended, restart_delay_seconds(quick_failures - 1))
                if self._state.stopping.is_set():
                    self._state.set_container(name, state=ended, last=record.last)
                    return False
                self._state.set_container(
                    name, state=Waiting("ContainerCreating"), last=ended, restarts=record.restarts + 1
                )
            elif self._state.stopping.is_set():
                return False
            began = asyncio.get_running_loop().time()
            await self._run_once(container)
            lasted = asyncio.get_running_loop().time() - began
            quick_failures = 0 if lasted >= _HEALTHY_SECONDS else quick_failures + 1

    async def _back_off(self, container: JSON, ended: Terminated, seconds: float) -> None:
        if seconds == 0:
            return
        meta = self._state.pod["metadata"]
        text = (
            f"back-off {seconds:.0f}s restarting failed container={container['name']} "
            f"pod={meta['name']}_{meta['namespace']}({meta['uid']})"
        )
        self._state.set_container(container["name"], state=Waiting("CrashLoopBackOff", text), last=ended)
        self._machine.events.record(self._state.pod, "Warning", "BackOff", text)
        await self._state.pause(seconds)

    async def _run_once(self, container: JSON) -> None:
        """One run, from creation to its end. Leaves the record waiting only if the pod is to end."""
        name = container["name"]
        restarts = self._state.record.container(name).restarts
        identifier = f"process://{self._state.pod['metadata']['uid']}-{name}-{restarts}"
        started_at = rfc3339()
        try:
            process = await self._start(container, restarts)
        except StartError as error:
            message = str(error)
            self._machine.events.record(self._state.pod, "Warning", "Failed", f"Error: {message}")
            ended = Terminated(error.exit_code, error.reason, message, started_at, rfc3339(), identifier)
            self._state.set_container(name, state=ended, container_id=identifier)
            return
        if process is None:
            return
        started_at = rfc3339()
        self._state.processes[name] = process
        self._paths.pid(name).write_text(f"{process.pid}\n", encoding="ascii")
        self._state.set_container(name, state=self._fresh(container, started_at), container_id=identifier)
        self._machine.events.record(self._state.pod, "Normal", "Started", f"Started container {name}")
        watching = asyncio.create_task(self._probe(container, process))
        try:
            code = await process.wait()
        finally:
            watching.cancel()
            self._paths.pid(name).unlink(missing_ok=True)
            del self._state.processes[name]
        message = self._message(container, restarts, code)
        reason = "Completed" if code == 0 else "Error"
        ended = Terminated(code, reason, message, started_at, rfc3339(), identifier)
        await asyncio.to_thread(shutil.rmtree, self._paths.temporary(name), ignore_errors=True)
        self._state.set_container(name, state=ended)

    async def _start(self, container: JSON, restarts: int) -> ContainerProcess | None:
        """Starts the program, as often as it takes to get its configuration together.

        Returns:
            ``None`` when the pod is to end first.
        """
        name = container["name"]
        while not self._state.stopping.is_set():
            try:
                launch = await build_launch(self._machine, self._state.pod, container, self._volumes, self._placement)
                return await ContainerProcess.start(launch, self._paths.log(name, restarts))
            except (ContainerConfigError, ApiError, OSError) as error:
                self._state.set_container(name, state=Waiting(ContainerConfigError.reason, str(error)))
                self._machine.events.record(self._state.pod, "Warning", "Failed", f"Error: {error}")
            await self._state.pause(_CONFIG_RETRY_SECONDS)
        return None

    def _message(self, container: JSON, restarts: int, code: int) -> str:
        name, spec = container["name"], self._state.pod["spec"]
        with suppress(OSError):
            raw = self._paths.message(name).read_bytes()
            tail = log_tail(self._paths.log(name, restarts), LOG_FALLBACK_BYTES)
            policy = container.get("terminationMessagePolicy", "File")
            count = len(spec["containers"]) + len(spec.get("initContainers") or ())
            return termination_message(raw, tail, policy, code, count)
        return ""

    def _fresh(self, container: JSON, started_at: str) -> Running:
        started = not probes.supported(container.get("startupProbe"))
        return Running(started_at, started and not probes.supported(container.get("readinessProbe")), started)

    async def _probe(self, container: JSON, process: ContainerProcess) -> None:
        """Runs the container's probes as long as it runs."""
        address, name = self._placement.pod_ip, container["name"]
        startup, readiness, liveness = (container.get(f"{one}Probe") for one in ("startup", "readiness", "liveness"))
        if probes.supported(startup):
            if not await probes.until_started(startup or {}, container, address):
                await self._unhealthy(process, name, "startup")
                return
            self._set_running(name, started=True, ready=not probes.supported(readiness))
        watched = []
        if probes.supported(readiness):
            watched.append(
                probes.observe(readiness or {}, container, address, lambda ok: self._set_running(name, ready=ok))
            )
        if probes.supported(liveness):
            watched.append(self._keep_alive(liveness or {}, container, process))
        await asyncio.gather(*watched)

    async def _keep_alive(self, probe: JSON, container: JSON, process: ContainerProcess) -> None:
        failed = asyncio.Event()

        def changed(healthy: bool) -> None:
            if not healthy:
                failed.set()

        observing = asyncio.create_task(probes.observe(probe, container, self._placement.pod_ip, changed))
        try:
            await failed.wait()
        finally:
            observing.cancel()
        await self._unhealthy(process, container["name"], "liveness")

    async def _unhealthy(self, process: ContainerProcess, name: str, kind: str) -> None:
        text = f"Container {name} failed {kind} probe, will be restarted"
        self._machine.events.record(self._state.pod, "Normal", "Killing", text)
        process.terminate()
        await asyncio.sleep(float(self._state.pod["spec"].get("terminationGracePeriodSeconds", 30)))
        process.kill()

    def _set_running(self, name: str, *, ready: bool, started: bool = True) -> None:
        state = self._state.record.container(name).state
        if isinstance(state, Running):
            self._state.set_container(name, state=replace(state, ready=ready, started=started))
