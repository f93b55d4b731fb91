"""How each kind is observed: its spec, its documents in S3, its Jobs. What follows is planned in pure code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from nasoa_operator.finetune import observed as finetune
from nasoa_operator.finetune.plan import plan as plan_request
from nasoa_operator.finetune.status import compose as compose_request_status
from nasoa_operator.jobs import Owner
from nasoa_operator.observe import in_thread, observe_jobs
from nasoa_operator.observed_jobs import ObservedJob
from nasoa_operator.obstacles import Obstacle
from nasoa_operator.plan import Manifest, Plan
from nasoa_operator.pod_outcomes import JobContext
from nasoa_operator.ports import ClusterPort, StepTimesPort
from nasoa_operator.reconcile import InvalidSpecError
from nasoa_operator.search import observed as search
from nasoa_operator.search.plan import plan as plan_search
from nasoa_operator.search.status import compose as compose_search_status
from nasoa_operator.settings import Settings
from nasoa_runtime.api.base import TERMINAL, SpecPart
from nasoa_runtime.api.finetune import FineTuneRequestSpec
from nasoa_runtime.api.reading import SpecError
from nasoa_runtime.api.reading import read_spec as validated_spec
from nasoa_runtime.api.search import NASSearchSpec
from nasoa_runtime.documents.keys import OutputUris
from nasoa_runtime.documents.request import RequestRecords
from nasoa_runtime.documents.search_records import SearchRecords
from nasoa_runtime.documents.steps import Step, parse_request_step, parse_search_step
from nasoa_runtime.documents.zoo import ZooManifest
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.storage.documents import DocumentStore
from nasoa_runtime.storage.predictors import read_state
from nasoa_runtime.storage.zoo import read_extractor, read_manifest

S = TypeVar("S", bound=SpecPart)


def read_spec(model: type[S], manifest: Manifest) -> S:
    """The spec of an object.

    Raises:
        InvalidSpecError: it was written for another version of the API; admission would refuse it today.
    """
    try:
        return validated_spec(model, manifest["spec"])
    except SpecError as error:
        message = f"{error}: delete this object, and create it anew with what the CRD in force allows"
        raise InvalidSpecError(message) from error


@dataclass(frozen=True)
class Sources:
    """Where both kinds are observed: the cluster, the documents in S3, what pods say of themselves."""

    cluster: ClusterPort
    documents: DocumentStore
    step_times: StepTimesPort
    settings: Settings

    async def jobs(
        self, owner: Owner, uris: OutputUris, parse: Callable[[str], Step | None], now: datetime
    ) -> dict[str, ObservedJob]:
        """An owner's Jobs by step; of what is not a step of its kind, nothing is asked."""

        def context_of(name: str) -> JobContext | None:
            step = parse(name)
            return None if step is None else JobContext(step.program, uris.results(name))

        store = self.documents.store
        return await observe_jobs(self.cluster, store, self.step_times, owner.namespace, owner.uid, context_of, now)

    async def zoo(self, name: str) -> ZooManifest | None:
        """A zoo's manifest."""
        return await in_thread(read_manifest, self.documents.store, self.documents.bucket, name)


class SearchController(Sources):
    """NASSearch."""

    async def observe(self, manifest: Manifest, owner: Owner, now: datetime) -> search.ObservedSearch:
        """A snapshot of one search; a finished one is not looked up in S3 any more."""
        spec = read_spec(NASSearchSpec, manifest)
        status = manifest.get("status", {})
        uid = spec.resume_from or owner.uid
        ended = status.get("phase") in TERMINAL
        jobs = await self.jobs(owner, OutputUris(spec.output_uri, uid), parse_search_step, now)
        # After the Jobs: one that another operator has deleted by then is recorded, and not asked for again.
        records = SearchRecords() if ended else await in_thread(self.documents.search_records, uid)
        zoo = None if ended else await self.zoo(spec.zoo.name)
        name, documents = self.settings.extractor, self.documents
        wanted = name is not None and not ended
        extractor = await in_thread(read_extractor, documents.store, documents.bucket, name) if wanted else None
        return search.ObservedSearch(
            owner=owner,
            object_generation=manifest["metadata"]["generation"],
            created=datetime.fromisoformat(manifest["metadata"]["creationTimestamp"]),
            spec=spec,
            status=status,
            records=records,
            jobs=jobs,
            zoo_owner=None if zoo is None else zoo.owner,
            extractor=extractor,
            settings=self.settings,
            now=now,
        )

    def plan(self, observed: search.ObservedSearch) -> Plan:
        """What follows."""
        return plan_search(observed)

    def hindered(self, manifest: Manifest, obstacle: Obstacle, now: datetime) -> dict[str, Any]:
        """The status of a search that could not be observed, or not be brought on."""
        return compose_search_status(status_in(manifest), generation_in(manifest), now, obstacle=obstacle)


class RequestController(Sources):
    """FineTuneRequest."""

    async def observe(self, manifest: Manifest, owner: Owner, now: datetime) -> finetune.ObservedRequest:
        """A snapshot of one request; zoo and predictor only where they are about to be needed."""
        spec = read_spec(FineTuneRequestSpec, manifest)
        status = manifest.get("status", {})
        ended = status.get("phase") in TERMINAL
        jobs = await self.jobs(owner, OutputUris(spec.output_uri, owner.uid), parse_request_step, now)
        # After the Jobs: one that another operator has deleted by then is recorded, and not asked for again.
        records = RequestRecords() if ended else await in_thread(self.documents.request_records, owner.uid)
        undecided = not ended and not records.decided
        zoo = await self.zoo(spec.zoo) if undecided else None
        predictor: PredictorState | None = None
        if zoo is not None and records.probe is not None:
            models, documents = [m.name for m in zoo.models], self.documents
            predictor = await in_thread(read_state, documents.store, documents.bucket, spec.zoo, models)
        return finetune.ObservedRequest(
            owner=owner,
            object_generation=manifest["metadata"]["generation"],
            spec=spec,
            status=status,
            records=records,
            jobs=jobs,
            zoo=zoo,
            predictor=predictor,
            settings=self.settings,
            now=now,
        )

    def plan(self, observed: finetune.ObservedRequest) -> Plan:
        """What follows."""
        return plan_request(observed)

    def hindered(self, manifest: Manifest, obstacle: Obstacle, now: datetime) -> dict[str, Any]:
        """The status of a request that could not be observed, or not be brought on."""
        return compose_request_status(status_in(manifest), generation_in(manifest), now, obstacle=obstacle)


def status_in(manifest: Manifest) -> Mapping[str, Any]:
    """The status of an object as it was read."""
    found: Mapping[str, Any] = manifest.get("status", {})
    return found


def generation_in(manifest: Manifest) -> int:
    """The generation of an object."""
    return int(manifest["metadata"]["generation"])
