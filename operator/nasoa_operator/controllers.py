"""How each kind is observed: its spec, its documents in S3, its Jobs. What follows is planned in pure code."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from nasoa_operator.finetune import observed as finetune
from nasoa_operator.finetune.plan import plan as plan_request
from nasoa_operator.jobs import Owner, results_uri
from nasoa_operator.observe import Documents, in_thread, observe_jobs
from nasoa_operator.outcomes import JobContext, ObservedJob, explain
from nasoa_operator.plan import Manifest, Plan
from nasoa_operator.ports import ClusterPort, StepTimesPort
from nasoa_operator.reconcile import InvalidSpecError
from nasoa_operator.search import observed as search
from nasoa_operator.search.plan import plan as plan_search
from nasoa_operator.settings import Settings
from nasoa_runtime.api.base import TERMINAL
from nasoa_runtime.api.finetune import FineTuneRequestSpec
from nasoa_runtime.api.search import NASSearchSpec
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.storage.predictors import read_state
from nasoa_runtime.storage.zoo import read_manifest

S = TypeVar("S", bound=BaseModel)


def read_spec(model: type[S], manifest: Manifest) -> S:
    """The spec of an object.

    Raises:
        InvalidSpecError: it was written for another version of the API; admission would refuse it today.
    """
    try:
        return model.model_validate(manifest["spec"])
    except ValidationError as error:
        message = f"spec.{explain(error)}: delete this object, and create it anew with what the CRD in force allows"
        raise InvalidSpecError(message) from error


@dataclass(frozen=True)
class Sources:
    """Where both kinds are observed: the cluster, the documents in S3, what pods say of themselves."""

    cluster: ClusterPort
    documents: Documents
    step_times: StepTimesPort
    settings: Settings

    async def jobs_and_records(
        self,
        owner: Owner,
        context_of: Callable[[str], JobContext | None],
        prefix: str,
        ended: bool,
        now: datetime,
    ) -> tuple[dict[str, ObservedJob], dict[str, dict[str, Any]]]:
        """An owner's Jobs by step, and its documents below ``prefix``; none for one that has ended."""
        store, step_times = self.documents.store, self.step_times
        jobs = await observe_jobs(self.cluster, store, step_times, owner.namespace, owner.uid, context_of, now)
        # After the Jobs: one that another operator has deleted by then is recorded, and not asked for again.
        return jobs, {} if ended else await in_thread(self.documents.read_all, prefix)


class SearchController(Sources):
    """NASSearch."""

    async def observe(self, manifest: Manifest, owner: Owner, now: datetime) -> search.ObservedSearch:
        """A snapshot of one search; a finished one is not looked up in S3 any more."""
        spec = read_spec(NASSearchSpec, manifest)
        status = manifest.get("status", {})
        uid = spec.resume_from or owner.uid
        ended = status.get("phase") in TERMINAL
        context = partial(search.job_context, results_uri(spec.output_uri, uid))
        jobs, found = await self.jobs_and_records(owner, context, f"searches/{uid}/", ended, now)
        zoo = None if ended else await in_thread(self._zoo_owner, spec.zoo.name)
        extractor = None if ended else await in_thread(self._extractor, self.settings.extractor)
        return search.ObservedSearch(
            owner=owner,
            object_generation=manifest["metadata"]["generation"],
            created=datetime.fromisoformat(manifest["metadata"]["creationTimestamp"]),
            spec=spec,
            status=status,
            documents=found,
            jobs=jobs,
            zoo_owner=zoo,
            extractor=extractor,
            settings=self.settings,
            now=now,
        )

    def plan(self, observed: search.ObservedSearch) -> Plan:
        """What follows."""
        return plan_search(observed)

    def _zoo_owner(self, name: str) -> str | None:
        manifest = read_manifest(self.documents.store, self.documents.bucket, name)
        return None if manifest is None else manifest.owner

    def _extractor(self, name: str | None) -> dict[str, Any] | None:
        if name is None:
            return None
        found = self.documents.store.get(self.documents.uri(f"zoo/extractors/{name}.json"))
        document: dict[str, Any] | None = None if found is None else json.loads(found.body)
        return document


class RequestController(Sources):
    """FineTuneRequest."""

    async def observe(self, manifest: Manifest, owner: Owner, now: datetime) -> finetune.ObservedRequest:
        """A snapshot of one request; zoo and predictor only where they are about to be needed."""
        spec = read_spec(FineTuneRequestSpec, manifest)
        status = manifest.get("status", {})
        ended = status.get("phase") in TERMINAL
        context = partial(finetune.job_context, results_uri(spec.output_uri, owner.uid))
        jobs, found = await self.jobs_and_records(owner, context, f"requests/{owner.uid}/", ended, now)
        undecided = not ended and "schedule.json" not in found and "failed.json" not in found
        store, bucket = self.documents.store, self.documents.bucket
        zoo = await in_thread(read_manifest, store, bucket, spec.zoo) if undecided else None
        predictor: PredictorState | None = None
        if undecided and zoo is not None and "probe.json" in found:
            predictor = await in_thread(read_state, store, bucket, spec.zoo, [m.name for m in zoo.models])
        return finetune.ObservedRequest(
            owner=owner,
            object_generation=manifest["metadata"]["generation"],
            spec=spec,
            status=status,
            documents=found,
            jobs=jobs,
            zoo=zoo,
            predictor=predictor,
            settings=self.settings,
            now=now,
        )

    def plan(self, observed: finetune.ObservedRequest) -> Plan:
        """What follows."""
        return plan_request(observed)
