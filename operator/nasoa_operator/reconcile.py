"""Observe, plan, apply, status: the one way in which objects of both kinds are reconciled."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from nasoa_operator import metrics
from nasoa_operator.actions import Actions
from nasoa_operator.cluster import Cluster, ClusterError, NameConflictError
from nasoa_operator.events import event_manifest, transitions
from nasoa_operator.jobs import STEP_LABEL, Owner
from nasoa_operator.observe import in_thread
from nasoa_operator.observed_jobs import ObservedJob
from nasoa_operator.obstacles import ACCEPTED, READABLE, RUNNABLE, STORAGE, Obstacle
from nasoa_operator.plan import Event, Manifest, Plan, Publish, SuspendJob
from nasoa_operator.workqueue import Key
from nasoa_runtime.api.base import GROUP, TERMINAL, VERSION
from nasoa_runtime.documents.base import UnreadableDocumentError
from nasoa_runtime.storage.documents import DocumentStore
from nasoa_runtime.storage.s3 import StoreError

logger = logging.getLogger(__name__)

ROUNDS_AT_MOST = 40
"""Plans carried out in one go; more are left to the next reconciliation."""
BUSY_REQUEUE_SECONDS = 0.5
REFUSED_REQUEUE_SECONDS = 20.0
RESTING_RESYNCS = 4
"""Resyncs for each look at an object for which nothing is to be done until somebody changes something."""
FORBIDDEN = 403


class InvalidSpecError(Exception):
    """The spec is one that this version can't read, although the API server took it."""


class JobRefusedError(Exception):
    """A Job can't be created: somebody has to change something in the cluster first."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.obstacle = Obstacle(RUNNABLE, reason, message)


class Observed(Protocol):
    """What the reconciler needs of a snapshot; the plan knows the rest."""

    @property
    def jobs(self) -> Mapping[str, ObservedJob]: ...  # noqa: D102


Snapshot = TypeVar("Snapshot", bound=Observed)


class Controller(Protocol[Snapshot]):
    """What differs between the two kinds: how one is observed, what follows, and how its status is told."""

    async def observe(self, manifest: Manifest, owner: Owner, now: datetime) -> Snapshot:
        """A snapshot of everything the plan needs.

        Raises:
            InvalidSpecError: the spec can't be read.
        """

    def plan(self, observed: Snapshot) -> Plan:
        """What follows from the snapshot."""

    def hindered(self, manifest: Manifest, obstacle: Obstacle, now: datetime) -> dict[str, Any]:
        """The status of an object that ``obstacle`` keeps from being observed or brought on."""


@dataclass
class Reconciler:
    """Carries out plans. Holds no state that matters: any other operator could go on from what is recorded."""

    cluster: Cluster
    documents: DocumentStore
    actions: Actions
    controllers: Mapping[str, Controller[Any]]
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def __post_init__(self) -> None:
        self._settled: set[tuple[str, int]] = set()
        self._resting: set[tuple[str, int]] = set()

    async def reconcile(self, key: Key) -> float | None:
        """Bring one object on; the seconds after which to look again, if any."""
        with metrics.RECONCILE_SECONDS.labels(key.kind).time():
            try:
                delay = await self._bring_on(key)
            except Exception:
                metrics.RECONCILIATIONS.labels(key.kind, "error").inc()
                raise
        metrics.RECONCILIATIONS.labels(key.kind, "ok").inc()
        return delay

    async def _bring_on(self, key: Key) -> float | None:
        manifest = await self.cluster.get_object(key.kind, key.namespace, key.name)
        if manifest is None or "deletionTimestamp" in manifest["metadata"]:
            # Owner references end its Jobs; what is published stays.
            return None
        metadata = manifest["metadata"]
        revision = (metadata["uid"], metadata["generation"])
        if revision in self._settled:
            return None
        self._resting.discard(revision)
        owner = Owner(f"{GROUP}/{VERSION}", key.kind, key.namespace, key.name, metadata["uid"])
        for _ in range(ROUNDS_AT_MOST):
            try:
                written, plan = await self._round(manifest, owner)
            except Exception as error:
                obstacle = obstacle_of(error, owner.namespace)
                if obstacle is None:
                    raise
                await self._tell(manifest, owner, obstacle)
                if isinstance(error, StoreError):
                    raise
                return None if obstacle.condition == ACCEPTED else REFUSED_REQUEUE_SECONDS
            if written is None:
                return BUSY_REQUEUE_SECONDS
            manifest = written
            if not plan.again:
                return self._rest(manifest, plan, revision)
        return BUSY_REQUEUE_SECONDS

    def _rest(self, manifest: Manifest, plan: Plan, revision: tuple[str, int]) -> float | None:
        """Note what the next resyncs need not look at; the seconds after which to look again, if any."""
        if manifest.get("status", {}).get("phase") in TERMINAL and not plan.delete_jobs:
            self._settled.add(revision)
            return None
        if plan.requeue_seconds is None:
            self._resting.add(revision)
        return plan.requeue_seconds

    def due(self, uid: str, generation: int, resync: int) -> bool:
        """Whether resync number ``resync`` looks at an object: at one that has ended never, at one that rests seldom.

        Resting objects, which are suspended or wait for a zoo, take turns, so that each resync sees an equal share.
        """
        revision = (uid, generation)
        turn = zlib.crc32(uid.encode()) % RESTING_RESYNCS == resync % RESTING_RESYNCS
        return revision not in self._settled and (turn or revision not in self._resting)

    def forget_all_but(self, living: set[str]) -> None:
        """Objects that are gone need not be remembered."""
        self._settled = {revision for revision in self._settled if revision[0] in living}
        self._resting = {revision for revision in self._resting if revision[0] in living}

    async def _round(self, manifest: Manifest, owner: Owner) -> tuple[Manifest | None, Plan]:
        controller = self.controllers[owner.kind]
        observed = await controller.observe(manifest, owner, self.clock())
        plan = await in_thread(controller.plan, observed)
        await self._apply(plan, owner, observed.jobs)
        if plan.status is None:
            return manifest, plan
        return await self._write_status(manifest, plan.status, plan.events, owner), plan

    async def _apply(self, plan: Plan, owner: Owner, jobs: Mapping[str, ObservedJob]) -> None:
        for write in plan.writes:
            if not await in_thread(self.documents.create, write.key, write.document):
                continue
            metrics.observe_document(owner.kind, write.document)
            if write.event is not None:
                await self._say(owner, write.event)
        for action in plan.actions:
            event = await in_thread(self.actions.carry_out, action)
            if event is not None:
                await self._say(owner, event)
            if isinstance(action, Publish):
                # A new zoo may be what resting objects wait for.
                self._resting.clear()
        for job in plan.jobs:
            if await self._create_job(job):
                step = job["metadata"]["labels"][STEP_LABEL]
                name, pods = job["metadata"]["name"], job["spec"]["completions"]
                count = "one pod" if pods == 1 else f"{pods} pods"
                await self._say(owner, Event("JobCreated", f"Job {name} has {count} for {step}", f"job-{step}"))
        by_name = {job.name: job for job in jobs.values()}
        for suspension in plan.suspensions:
            await self._suspend(suspension, by_name[suspension.name], owner)
        for name in plan.delete_jobs:
            await self.cluster.delete_job(owner.namespace, name, by_name[name].uid)

    async def _suspend(self, suspension: SuspendJob, job: ObservedJob, owner: Owner) -> None:
        """Stop or go on with a Job: through its Workload where a queue admits it, else by its own field."""
        if job.queued:
            await self.cluster.activate_workload(owner.namespace, job.uid, active=not suspension.suspend)
        else:
            await self.cluster.suspend_job(owner.namespace, suspension.name, suspend=suspension.suspend)

    async def _write_status(
        self, manifest: Manifest, status: Mapping[str, Any], events: Sequence[Event], owner: Owner
    ) -> Manifest | None:
        """Write a status that differs, then say what is new; ``None`` if the object has changed since it was read."""
        before = manifest.get("status", {})
        if status == before:
            return manifest
        written = await self.cluster.write_status(manifest, status)
        if written is not None:
            for event in (*events, *transitions(before, status)):
                await self._say(owner, event)
        return written

    async def _create_job(self, job: Manifest) -> bool:
        """Create a Job; a refusal that another try does not change is told to the owner."""
        name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
        try:
            return await self.cluster.create_job(job)
        except NameConflictError as error:
            raise JobRefusedError("NameConflict", str(error)) from error
        except ClusterError as error:
            if error.temporary:
                raise
            if error.status == FORBIDDEN and "cannot create resource" in error.message:
                raise JobRefusedError("NamespaceNotEnrolled", not_enrolled(namespace)) from error
            message = f"the API server refuses Job {name} in namespace {namespace}: {error.message}"
            raise JobRefusedError("JobRefused", message) from error

    async def _tell(self, manifest: Manifest, owner: Owner, obstacle: Obstacle) -> None:
        """Say on the object why nothing moves."""
        status = self.controllers[owner.kind].hindered(manifest, obstacle, self.clock())
        await self._write_status(manifest, status, (), owner)

    async def _say(self, owner: Owner, event: Event) -> None:
        await self.cluster.create_event(event_manifest(owner, event, self.clock()))


def obstacle_of(error: Exception, namespace: str) -> Obstacle | None:
    """What a round's ``error`` means for the object; ``None`` for errors that it need not know of."""
    match error:
        case StoreError():
            return Obstacle(STORAGE, type(error).__name__.removesuffix("Error"), str(error), "waiting for S3: ")
        case UnreadableDocumentError():
            return Obstacle(READABLE, "UnreadableDocument", str(error))
        case InvalidSpecError():
            return Obstacle(ACCEPTED, "InvalidSpec", str(error))
        case JobRefusedError():
            return error.obstacle
        case ClusterError(status=403):
            return Obstacle(RUNNABLE, "NamespaceNotEnrolled", not_enrolled(namespace))
        case _:
            return None


def not_enrolled(namespace: str) -> str:
    """What to do where the operator has no rights."""
    return (
        f"the operator may not run Jobs in namespace {namespace}: an administrator enrols the namespace with a "
        "RoleBinding of the operator's service account to the ClusterRole nasoa-jobs"
    )
