"""One running operator: its connections, its queue, its supervised tasks and its health."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp

from nasoa_operator import metrics
from nasoa_operator.actions import Actions
from nasoa_operator.cluster import Cluster, ClusterError
from nasoa_operator.controllers import RequestController, SearchController
from nasoa_operator.health import Health
from nasoa_operator.jobs import OWNER_KIND_LABEL, OWNER_UID_LABEL
from nasoa_operator.observe import in_thread
from nasoa_operator.ports import ClusterPort, StepTimesPort
from nasoa_operator.reconcile import Controller, Reconciler
from nasoa_operator.refits import Refits
from nasoa_operator.settings import Settings
from nasoa_operator.step_times import StepTimes
from nasoa_operator.supervision import supervised
from nasoa_operator.workqueue import Key, WorkQueue
from nasoa_runtime.api.kinds import PLURALS
from nasoa_runtime.storage.documents import DocumentStore
from nasoa_runtime.storage.s3 import ObjectStore, connect

logger = logging.getLogger(__name__)

LEASE_SECONDS = 15.0


def reconciler_over(
    settings: Settings,
    cluster: ClusterPort,
    store: ObjectStore,
    step_times: StepTimesPort,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    refit: Callable[[str], None] | None = None,
) -> Reconciler:
    """What an operator does, over a world that may be real or in memory; ``refit`` as :class:`Actions` has it."""
    documents = DocumentStore(store, settings.system_bucket)
    controllers: dict[str, Controller[Any]] = {
        "NASSearch": SearchController(cluster, documents, step_times, settings),
        "FineTuneRequest": RequestController(cluster, documents, step_times, settings),
    }
    return Reconciler(cluster, documents, Actions(documents, clock, refit), controllers, clock)


@dataclass
class Operator:
    """Everything that lives as long as the process."""

    settings: Settings
    cluster: Cluster
    session: aiohttp.ClientSession
    reconciler: Reconciler
    queue: WorkQueue
    health: Health
    refits: Refits
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    resyncs: Iterator[int] = field(default_factory=itertools.count)
    """Numbers of the resyncs. They go on where the task is started again, so that resting objects keep their turns."""

    @classmethod
    async def start(cls, settings: Settings, environment: Mapping[str, str] = os.environ) -> Operator:
        """Connect, and start the workers."""
        cluster = await Cluster.connect(settings.kubeconfig)
        store = connect(
            endpoint=settings.s3_endpoint,
            region=settings.s3_region,
            access_key=environment.get("AWS_ACCESS_KEY_ID"),
            secret_key=environment.get("AWS_SECRET_ACCESS_KEY"),
        )
        store.on_request(lambda operation: metrics.S3_REQUESTS.labels(operation).inc())
        session = aiohttp.ClientSession()
        refits = Refits()
        step_times = StepTimes(session, settings.prometheus_url)
        reconciler = reconciler_over(settings, cluster, store, step_times, refit=refits.start)
        lease = f"nasoa-operator-{socket.gethostname()[:40].lower()}-{os.getpid()}"
        health = Health(lease)
        operator = cls(settings, cluster, session, reconciler, WorkQueue(), health, refits)
        await health.serve(settings.health_host, settings.health_port)
        operator.tasks = [
            asyncio.create_task(supervised("resync", operator._resync), name="resync"),
            asyncio.create_task(supervised("heartbeat", operator._heartbeat), name="heartbeat"),
            *(
                asyncio.create_task(supervised("worker", operator._work), name=f"worker-{n}")
                for n in range(settings.workers)
            ),
        ]
        return operator

    async def stop(self) -> None:
        """Stop working; whatever was under way is taken up by the next operator."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await in_thread(self.refits.stop)
        with contextlib.suppress(ClusterError):
            await self.cluster.delete_lease(self.settings.namespace, self.health.lease)
        await self.health.close()
        await self.session.close()
        await self.cluster.close()

    def hint_object(self, kind: str, manifest: Mapping[str, Any]) -> None:
        """An object of ours has changed: look at it."""
        metadata = manifest["metadata"]
        self.queue.add(Key(kind, metadata["namespace"], metadata["name"]))

    def hint_job(self, manifest: Mapping[str, Any]) -> None:
        """A Job has changed: look at its owner."""
        metadata = manifest["metadata"]
        owners = [o for o in metadata.get("ownerReferences", []) if o.get("controller")]
        labels = metadata.get("labels", {})
        if owners and OWNER_UID_LABEL in labels and labels.get(OWNER_KIND_LABEL) in PLURALS:
            self.queue.add(Key(labels[OWNER_KIND_LABEL], metadata["namespace"], owners[0]["name"]))

    async def _work(self) -> None:
        """Bring on one object after another."""
        await self.queue.work(self.reconciler.reconcile)

    async def _resync(self) -> None:
        """The backstop: look at everything now and then, whatever the watches have missed."""
        for resync in self.resyncs:
            with contextlib.suppress(ClusterError):
                await self._look_at_everything(resync)
            self.health.tick()
            await asyncio.sleep(self.settings.resync_seconds)

    async def _look_at_everything(self, resync: int) -> None:
        living = set()
        for kind in PLURALS:
            for manifest in await self.cluster.list_objects(kind, self.settings.watch_namespaces):
                metadata = manifest["metadata"]
                living.add(metadata["uid"])
                if self.reconciler.due(metadata["uid"], metadata["generation"], resync):
                    self.hint_object(kind, manifest)
        self.reconciler.forget_all_but(living)
        self.health.reads_succeed = True

    async def _heartbeat(self) -> None:
        """Renew the operator's own Lease; that it comes back through the watch shows that watches live."""
        lease = self.health.lease
        while True:
            spec = {
                "holderIdentity": lease,
                "leaseDurationSeconds": int(8 * LEASE_SECONDS),
                "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            }
            try:
                await self.cluster.renew_lease(self.settings.namespace, lease, spec)
                self.health.reads_succeed = True
            except ClusterError as error:
                self.health.reads_succeed = False
                logger.warning("the Lease could not be renewed: %s", error)
            await asyncio.sleep(LEASE_SECONDS)
