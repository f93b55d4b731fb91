"""Follows the pods that are bound to this node and gives each its worker."""

import asyncio
import contextlib
import logging
from typing import Any

from .api import Api
from .errors import ApiError
from .machine import Machine
from .pod_paths import PodPaths
from .pod_worker import PodWorker

JSON = dict[str, Any]

_FIRST_RETRY_SECONDS = 0.2
_LAST_RETRY_SECONDS = 5.0
_KILL_SECONDS = 10.0
_GONE = 410
_log = logging.getLogger(__name__)


class Agent:
    """One worker for every pod of the node."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._query = {"fieldSelector": f"spec.nodeName={machine.name}"}

    def find(self, namespace: str, name: str) -> PodWorker | None:
        """Returns the worker of a pod by its name; of two (one being removed) the newer."""
        found = [
            worker
            for worker in self._workers.values()
            if (worker.pod["metadata"]["namespace"], worker.pod["metadata"]["name"]) == (namespace, name)
        ]
        return found[-1] if found else None

    def pods(self) -> list[JSON]:
        """The pods as last seen."""
        return [worker.pod for worker in self._workers.values()]

    async def run(self) -> None:
        """Lists and watches for ever; every failure leads to a new list."""
        delay, first = _FIRST_RETRY_SECONDS, True
        while True:
            try:
                version = await self._list(remove_orphans=first)
                first, delay = False, _FIRST_RETRY_SECONDS
                while True:
                    version = await self._watch(version)
                    # A server that ends watches at once must not be asked in a tight loop.
                    await asyncio.sleep(_FIRST_RETRY_SECONDS)
            except ApiError as error:
                if error.status == _GONE:
                    continue
                _log.warning("watching pods: %s", error.message)
                await asyncio.sleep(delay)
                delay = min(2 * delay, _LAST_RETRY_SECONDS)

    async def stop(self) -> None:
        """Kills every program. Statuses are left to the node's next start, which reports them as killed."""
        processes = [one for worker in self._workers.values() for one in worker.state.processes.values()]
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for process in processes:
            process.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_KILL_SECONDS):
                await asyncio.gather(*(process.wait() for process in processes), return_exceptions=True)

    async def _list(self, *, remove_orphans: bool) -> str:
        listed = await _list_pods(self._machine.api, self._query)
        present = {pod["metadata"]["uid"] for pod in listed["items"]}
        for uid in set(self._workers) - present:
            self._workers[uid].remove()
        if remove_orphans:
            await asyncio.to_thread(self._remove_files_of_others, present)
        for pod in listed["items"]:
            self._seen(pod)
        return str(listed["metadata"]["resourceVersion"])

    def _remove_files_of_others(self, present: set[str]) -> None:
        folder = self._machine.directory / "pods"
        # Below are Secrets and tokens.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for entry in folder.iterdir():
            if entry.name not in present:
                PodPaths(entry).remove()

    async def _watch(self, version: str) -> str:
        async for event in self._machine.api.watch("/api/v1/pods", {**self._query, "resourceVersion": version}):
            pod = event["object"]
            version = pod["metadata"]["resourceVersion"]
            if event["type"] in {"ADDED", "MODIFIED"}:
                self._seen(pod)
            elif event["type"] == "DELETED" and pod["metadata"]["uid"] in self._workers:
                self._workers[pod["metadata"]["uid"]].remove()
        return version

    def _seen(self, pod: JSON) -> None:
        uid = pod["metadata"]["uid"]
        if uid in self._workers:
            self._workers[uid].update(pod)
            return
        worker = PodWorker(self._machine, pod)
        self._workers[uid] = worker
        task = asyncio.create_task(worker.run(), name=f"pod {pod['metadata']['name']}")
        self._tasks[uid] = task
        task.add_done_callback(lambda done: self._ended(uid, done))

    def _ended(self, uid: str, task: "asyncio.Task[None]") -> None:
        del self._workers[uid]
        del self._tasks[uid]
        if not task.cancelled() and task.exception() is not None:
            _log.error("%s: worker failed", task.get_name(), exc_info=task.exception())


async def _list_pods(api: Api, query: dict[str, str]) -> JSON:
    listed = await api.request("GET", "/api/v1/pods", query=query)
    # Items of a list leave out what the list says for all of them.
    listed["items"] = [{"apiVersion": "v1", "kind": "Pod"} | pod for pod in listed.get("items") or ()]
    return listed
