"""Observe, plan, apply, status: the one way in which objects of both kinds are reconciled."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from nasoa_operator import metrics
from nasoa_operator.actions import Actions
from nasoa_operator.blockage import CONDITION as RUNNABLE
from nasoa_operator.blockage import Blockage, with_blockage
from nasoa_operator.cluster import ClusterError, NameConflictError
from nasoa_operator.events import STORAGE, event_manifest, transitions
from nasoa_operator.jobs import STEP_LABEL, Owner
from nasoa_operator.observe import Documents, in_thread
from nasoa_operator.outcomes import ObservedJob
from nasoa_operator.plan import Event, Manifest, Plan, Publish, SuspendJob
from nasoa_operator.ports import ClusterPort
from nasoa_operator.workqueue import Key
from nasoa_runtime.api.base import GROUP, TERMINAL, VERSION
from nasoa_runtime.api.conditions import Condition, find_condition, set_condition, shorten
from nasoa_runtime.boundary import canonical_json
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

    def __init__(self, blockage: Blockage) -> None:
        super().__init__(blockage.message)
        self.blockage = blockage


class Controller(Protocol):
    """What differs between the two kinds: how one is observed, and what follows."""

    async def observe(self, manifest: Manifest, owner: Owner, now: datetime) -> Any:
        """A snapshot of everything the plan needs.

        Raises:
            InvalidSpecError: the spec can't be read.
        """

    def plan(self, observed: Any) -> Plan:
        """What follows from the snapshot."""


@dataclass
class Reconciler:
    """Carries out plans. Holds no state that matters: any other operator could go on from what is recorded."""

    cluster: ClusterPort
    documents: Documents
    actions: Actions
    controllers: Mapping[str, Controller]
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
            except StoreError as error:
                reason = type(error).__name__.removesuffix("Error")
                await self._report(manifest, owner, STORAGE, reason, str(error), "waiting for S3: ")
                raise
            except InvalidSpecError as error:
                await self._report(manifest, owner, "Accepted", "InvalidSpec", str(error))
                return None
            except JobRefusedError as error:
                await self._report(manifest, owner, RUNNABLE, error.blockage.reason, error.blockage.message)
                return REFUSED_REQUEUE_SECONDS
            except ClusterError as error:
                if error.status != FORBIDDEN:
                    raise
                await self._report(manifest, owner, RUNNABLE, "NamespaceNotEnrolled", not_enrolled(owner.namespace))
                return REFUSED_REQUEUE_SECONDS
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
        if plan.status is not None:
            blockages = [job.blockage for job in observed.jobs.values()]
            generation = manifest["metadata"]["generation"]
            plan = replace(plan, status=with_blockage(plan.status, blockages, generation, self.clock()))
        return await self._write_status(manifest, plan, owner), plan

    async def _apply(self, plan: Plan, owner: Owner, jobs: Mapping[str, ObservedJob]) -> None:
        for document in plan.documents:
            created = await in_thread(self.documents.create, document.key, canonical_json(dict(document.body)))
            if not created:
                continue
            metrics.observe_document(owner.kind, document.key, document.body)
            if document.event is not None:
                await self._say(owner, document.event)
        for action in plan.actions:
            event = await in_thread(self.actions.carry_out, action, owner)
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

    async def _write_status(self, manifest: Manifest, plan: Plan, owner: Owner) -> Manifest | None:
        """Write the status if it differs; ``None`` if the object has changed since it was read."""
        before = manifest.get("status", {})
        if plan.status is None:
            return manifest
        status = dict(plan.status)
        conditions = [Condition.read(c) for c in status.get("conditions", [])]
        storage = find_condition(conditions, STORAGE)
        if storage is not None and storage.status == "False":
            conditions = set_condition(
                conditions, STORAGE, "True", "Reachable", "S3 answers", storage.observed_generation, self.clock()
            )
            status["conditions"] = [c.to_manifest() for c in conditions]
        if status == before:
            return manifest
        written = await self.cluster.write_status(manifest, status)
        if written is not None:
            for event in (*plan.events, *transitions(before, status)):
                await self._say(owner, event)
        return written

    async def _create_job(self, job: Manifest) -> bool:
        """Create a Job; a refusal that another try does not change is told to the owner."""
        name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
        try:
            return await self.cluster.create_job(job)
        except NameConflictError as error:
            raise JobRefusedError(Blockage("NameConflict", str(error))) from error
        except ClusterError as error:
            if error.temporary:
                raise
            if error.status == FORBIDDEN and "cannot create resource" in error.message:
                raise JobRefusedError(Blockage("NamespaceNotEnrolled", not_enrolled(namespace))) from error
            message = f"the API server refuses Job {name} in namespace {namespace}: {error.message}"
            raise JobRefusedError(Blockage("JobRefused", message)) from error

    async def _report(
        self, manifest: Manifest, owner: Owner, kind: str, reason: str, text: str, prefix: str = ""
    ) -> None:
        """Say on the object why nothing moves: condition ``kind`` is false."""
        before = manifest.get("status", {})
        conditions = [Condition.read(c) for c in before.get("conditions", [])]
        generation = manifest["metadata"]["generation"]
        changed = set_condition(conditions, kind, "False", reason, text, generation, self.clock())
        if changed == conditions:
            return
        status = {
            "phase": "Pending",
            **before,
            "conditions": [c.to_manifest() for c in changed],
            "message": shorten(f"{prefix}{text}"),
        }
        if await self.cluster.write_status(manifest, status) is not None:
            for event in transitions(before, status):
                await self._say(owner, event)

    async def _say(self, owner: Owner, event: Event) -> None:
        await self.cluster.create_event(event_manifest(owner, event, self.clock()))


def not_enrolled(namespace: str) -> str:
    """What to do where the operator has no rights."""
    return (
        f"the operator may not run Jobs in namespace {namespace}: an administrator enrols the namespace with a "
        "RoleBinding of the operator's service account to the ClusterRole nasoa-jobs"
    )
