"""What each kind is called, what of it may be edited, and what `kubectl get` prints of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nasoa_runtime.api.base import GROUP, SpecPart, StatusPart
from nasoa_runtime.api.finetune import FineTuneRequestSpec
from nasoa_runtime.api.finetune_status import FineTuneRequestStatus
from nasoa_runtime.api.rules import rule
from nasoa_runtime.api.search import NASSearchSpec
from nasoa_runtime.api.search_status import NASSearchStatus


@dataclass(frozen=True)
class Kind:
    """What the CRD of a kind is made of."""

    kind: str
    plural: str
    short: str
    description: str
    spec: type[SpecPart]
    status: type[StatusPart]
    editable: tuple[str, ...]
    """Fields of the spec that may be edited; everything else is decided at creation."""
    columns: tuple[tuple[str, str, str], ...]
    """Heading, type and path of what `kubectl get` prints; the age is added."""
    rules: tuple[Mapping[str, str], ...] = ()
    """Rules on the whole object."""

    @property
    def name(self) -> str:
        """Name of the CRD."""
        return f"{self.plural}.{GROUP}"


SEARCH = Kind(
    kind="NASSearch",
    plural="nassearches",
    short="nas",
    description="Searches architectures that train fast for their accuracy, and publishes the best to a zoo.",
    spec=NASSearchSpec,
    status=NASSearchStatus,
    editable=("suspend", "parallelism", "limits"),
    columns=(
        ("Phase", "string", ".status.phase"),
        ("Generation", "string", ".status.progress"),
        ("Evaluated", "integer", ".status.evaluated"),
        ("Best", "string", ".status.best"),
        ("Front", "integer", ".status.frontSize"),
        ("Zoo", "string", ".spec.zoo.name"),
    ),
)
REQUEST = Kind(
    kind="FineTuneRequest",
    plural="finetunerequests",
    short="ftr",
    description="Fine-tunes one model of a zoo on a dataset within a time limit.",
    spec=FineTuneRequestSpec,
    status=FineTuneRequestStatus,
    editable=("suspend", "limits"),
    columns=(
        ("Phase", "string", ".status.phase"),
        ("Model", "string", ".status.model"),
        ("Predicted", "string", ".status.predicted"),
        ("Accuracy", "string", ".status.result.accuracy"),
        ("Used", "string", ".status.result.used"),
        ("Version", "integer", ".status.predictor.produced"),
    ),
    rules=(
        rule(
            "!has(oldSelf.status) || !has(oldSelf.status.schedule) || self.spec.limits == oldSelf.spec.limits",
            "spec.limits can't be changed any more: the schedule is decided (status.schedule). Delete the request and"
            " create another",
        ),
    ),
)
KINDS = (SEARCH, REQUEST)
"""Both kinds."""
PLURALS = {kind.kind: kind.plural for kind in KINDS}
"""Kind -> plural, as addresses of the API server have it."""
