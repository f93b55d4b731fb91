"""The life of one pod on this node, from being bound to it to the end of its object."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from .addresses import HOST_IP
from .clock import parse_rfc3339, rfc3339
from .container_runner import ContainerRunner
from .environment import Placement
from .errors import ApiError, VolumeNotReadyError
from .machine import Machine
from .pod_paths import PodPaths
from .pod_state import PodState
from .reporter import StatusReporter
from .status import initialized, phase, resumed_record
from .volumes import Volumes

JSON = dict[str, Any]

_VOLUME_RETRY_SECONDS = 2.0
_DELETE_RETRY_SECONDS = 1.0
_FORCED_GRACE_SECONDS = 2.0
_KILL_POLL_SECONDS = 0.1
_DEADLINE = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
_log = logging.getLogger(__name__)


class PodWorker:
    """Runs a pod. `update` and `remove` tell it what became of its object; `run` returns when all is cleaned up."""

    def __init__(self, machine: Machine, pod: JSON) -> None:
        self._machine = machine
        self.uid: str = pod["metadata"]["uid"]
        self.paths = PodPaths.of(machine.directory, self.uid)
        address = (pod.get("status") or {}).get("podIP")
        if address and address != HOST_IP:
            machine.addresses.reserve(self.uid, address)
        self.state = PodState(pod, resumed_record(pod, HOST_IP, rfc3339()))
        self._reporter = StatusReporter(machine.api, self.state)
        self._object_changed = asyncio.Event()
        self._gone = False

    @property
    def pod(self) -> JSON:
        """The pod's object as last seen."""
        return self.state.pod

    def update(self, pod: JSON) -> None:
        """Takes a new version of the object."""
        self.state.pod = pod
        self._object_changed.set()

    def remove(self) -> None:
        """Says that the object is gone."""
        self._gone = True
        self._object_changed.set()

    async def run(self) -> None:
        """Runs the pod to its end, reports it, waits for the object's removal and clears up."""
        if (self.pod.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}:
            reports = asyncio.create_task(self._reporter.run())
            try:
                await self._live()
                await self._reporter.flush()
            finally:
                reports.cancel()
        self._machine.addresses.release(self.uid)
        await self._await_removal()
        self.paths.remove()
        self._machine.events.forget(self.uid)

    async def _live(self) -> None:
        running = asyncio.create_task(self._run_containers())
        ending = asyncio.create_task(self._end_wanted())
        failure = None
        try:
            await asyncio.wait({running, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                grace_seconds, failure = ending.result()
                # Known before the programs end, so that the first failed status already says why.
                self.state.set_record(replace(self.state.record, failure=failure))
                await self._stop(running, grace_seconds)
            await running
        except Exception as error:  # noqa: BLE001
            # A mistake of the node's must not leave a pod that never ends.
            _log.exception("pod %s", self.pod["metadata"]["name"])
            failure = ("NodeError", f"the local node failed to run the pod: {error!r}")
            await self._kill_processes()
        finally:
            running.cancel()
            ending.cancel()
        for container in self._containers():
            self._machine.devices.release(f"{self.uid}/{container['name']}")
        await asyncio.to_thread(self.paths.remove_all_but_logs)
        self.state.set_record(replace(self.state.record, stopped=True, failure=failure))

    async def _kill_processes(self) -> None:
        self.state.stopping.set()
        for process in list(self.state.processes.values()):
            process.kill()
            await process.wait()

    def _containers(self) -> list[JSON]:
        spec = self.pod["spec"]
        return [*(spec.get("initContainers") or ()), *spec["containers"]]

    async def _run_containers(self) -> None:
        machine, spec = self._machine, self.pod["spec"]
        policy = spec.get("restartPolicy", "Always")
        if phase(self.state.record, policy) in {"Succeeded", "Failed"}:
            return
        address = HOST_IP if spec.get("hostNetwork") else machine.addresses.allocate(self.uid)
        self.state.set_record(replace(self.state.record, pod_ip=address))
        placement = Placement(address, HOST_IP, machine.capacity.amounts())
        volumes = Volumes(machine.api, self.paths.volumes, placement)
        prepared = await self._prepare(volumes)
        if prepared is None:
            return
        renewal = asyncio.create_task(volumes.renew_tokens(self.pod))
        runner = ContainerRunner(machine, self.state, self.paths, prepared, placement)
        try:
            for container in spec.get("initContainers") or ():
                if not await runner.run(container, "OnFailure" if policy == "Always" else policy):
                    return
            if initialized(self.state.record) and not self.state.stopping.is_set():
                self.state.set_record(runner.initialized())
                await asyncio.gather(*(runner.run(one, policy) for one in spec["containers"]))
        finally:
            renewal.cancel()

    async def _prepare(self, volumes: Volumes) -> Any:
        self.state.unreported.set()
        while not self.state.stopping.is_set():
            try:
                return await volumes.prepare(self.pod)
            except VolumeNotReadyError as error:
                self._machine.events.record(self.pod, "Warning", "FailedMount", str(error))
                self.state.explain_waiting(str(error))
            await self.state.pause(_VOLUME_RETRY_SECONDS)
        return None

    async def _end_wanted(self) -> tuple[float, tuple[str, str] | None]:
        """Returns when the pod is to end: the grace period in seconds, and the failure that ends it, if any."""
        while True:
            metadata = self.pod["metadata"]
            if self._gone or self._reporter.refused.is_set():
                return _FORCED_GRACE_SECONDS, None
            if metadata.get("deletionTimestamp"):
                return float(metadata.get("deletionGracePeriodSeconds") or 0), None
            limit = self.pod["spec"].get("activeDeadlineSeconds")
            left = None
            if limit is not None:
                active = datetime.now(UTC) - parse_rfc3339(self.state.record.start_time)
                left = limit - active.total_seconds()
                if left <= 0:
                    return float(self.pod["spec"].get("terminationGracePeriodSeconds", 30)), _DEADLINE
            self._object_changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._object_changed.wait()

    async def _stop(self, running: "asyncio.Task[None]", grace_seconds: float) -> None:
        """Ends the pod's programs: SIGTERM, and SIGKILL to what is left after the grace period."""
        loop = asyncio.get_running_loop()
        self.state.stopping.set()
        begun = loop.time()
        deadline = begun + grace_seconds
        asked = set()
        while not running.done():
            metadata = self.pod["metadata"]
            if self._gone:
                deadline = min(deadline, loop.time() + _FORCED_GRACE_SECONDS)
            elif metadata.get("deletionTimestamp"):
                # A second deletion may have shortened the period.
                deadline = min(deadline, begun + float(metadata.get("deletionGracePeriodSeconds") or 0))
            for name, process in list(self.state.processes.items()):
                if process not in asked:
                    asked.add(process)
                    self._machine.events.record(self.pod, "Normal", "Killing", f"Stopping container {name}")
                    process.terminate()
                if loop.time() >= deadline:
                    process.kill()
            await asyncio.wait({running}, timeout=_KILL_POLL_SECONDS)

    async def _await_removal(self) -> None:
        """Deletes the object of a pod that was asked to end, and waits until it is gone."""
        deleted = False
        while not (self._gone or self._reporter.refused.is_set()):
            timeout = None
            if self.pod["metadata"].get("deletionTimestamp") and not deleted:
                try:
                    await self._machine.api.delete_pod(self.pod)
                    deleted = True
                except ApiError as error:
                    deleted = error.status in {404, 409}
                    timeout = _DELETE_RETRY_SECONDS
            if self._gone:
                break
            self._object_changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._object_changed.wait()
