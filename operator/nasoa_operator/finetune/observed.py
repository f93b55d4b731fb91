"""What is known of one FineTuneRequest at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nasoa_operator.jobs import Owner
from nasoa_operator.observed_jobs import ObservedJob
from nasoa_operator.plan import Event, Plan, Write
from nasoa_operator.settings import Settings
from nasoa_runtime.api.finetune import FineTuneRequestSpec
from nasoa_runtime.documents.base import Document
from nasoa_runtime.documents.keys import OutputUris, RequestKeys
from nasoa_runtime.documents.request import RequestRecords
from nasoa_runtime.documents.steps import Step
from nasoa_runtime.documents.zoo import ZooManifest
from nasoa_runtime.online.state import PredictorState


@dataclass(frozen=True)
class ObservedRequest:
    """A frozen snapshot: the object, what is recorded of it in S3, its Jobs, the zoo and the predictor."""

    owner: Owner
    object_generation: int
    spec: FineTuneRequestSpec
    status: Mapping[str, Any]
    records: RequestRecords
    jobs: Mapping[str, ObservedJob]
    """By the name of their step."""
    zoo: ZooManifest | None
    """``None`` if there is no such zoo, or it is not needed any more."""
    predictor: PredictorState | None
    """``None`` unless the schedule is to be decided now."""
    settings: Settings
    now: datetime

    @property
    def uris(self) -> OutputUris:
        """Where the request's pods write."""
        return OutputUris(self.spec.output_uri, self.owner.uid)

    def key(self, name: str) -> str:
        """The key in the system bucket of document ``name``."""
        return RequestKeys(self.owner.uid).of(name)

    def result_uri(self, step: Step) -> str:
        """Where the pods of ``step`` write their results."""
        return self.uris.results(str(step))

    def write(self, name: str, document: Document, event: Event) -> Plan:
        """The plan to write one document, and to look again at once."""
        return Plan(writes=(Write(self.key(name), document, event),), again=True)
