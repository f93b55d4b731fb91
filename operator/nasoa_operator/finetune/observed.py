"""What is known of one FineTuneRequest at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nasoa_operator.jobs import Owner, results_uri
from nasoa_operator.outcomes import JobContext, ObservedJob
from nasoa_operator.settings import Settings
from nasoa_runtime.api.finetune import FineTuneRequestSpec
from nasoa_runtime.documents.zoo import ZooManifest
from nasoa_runtime.online.state import PredictorState

PROGRAMS = {"probe": "probe", "probe-retry": "probe", "finetune": "finetune", "finetune-retry": "finetune"}


@dataclass(frozen=True)
class ObservedRequest:
    """A frozen snapshot: the object, its documents in S3, its Jobs, the zoo and the predictor."""

    owner: Owner
    object_generation: int
    spec: FineTuneRequestSpec
    status: Mapping[str, Any]
    documents: Mapping[str, Mapping[str, Any]]
    """Below ``requests/<uid>/``: key -> document."""
    jobs: Mapping[str, ObservedJob]
    zoo: ZooManifest | None
    """``None`` if there is no such zoo, or it is not needed any more."""
    predictor: PredictorState | None
    """``None`` unless the schedule is to be decided now."""
    settings: Settings
    now: datetime

    def document(self, name: str) -> Mapping[str, Any] | None:
        """The document ``name``; ``None`` if it is not written yet."""
        return self.documents.get(f"{name}.json")

    def key(self, name: str) -> str:
        """The key in the system bucket of document ``name``."""
        return f"requests/{self.owner.uid}/{name}.json"

    def tenant_uri(self, *parts: str) -> str:
        """An address under the request's own prefix of its output URI."""
        return "/".join((self.spec.output_uri.rstrip("/"), self.owner.uid, *parts))

    def result_uri(self, step: str) -> str:
        """Where the pods of ``step`` write their results."""
        return f"{results_uri(self.spec.output_uri, self.owner.uid)}/{step}"


def job_context(results: str, step: str) -> JobContext | None:
    """The program that a step runs, and where its results are; ``None`` for a step that is not ours."""
    return JobContext(PROGRAMS[step], f"{results}/{step}") if step in PROGRAMS else None
