"""A plan is a value: what is to be written, created, deleted and said, and when to look again.

Planning functions return it, :mod:`nasoa_operator.reconcile` carries it out in this order: writes, actions, Jobs,
deletions, status, events. Each part is idempotent, so that a plan may be carried out any number of times, by any number
of operators, and stop between any two of its parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from nasoa_runtime.boundary import Extractor, StepFactors, StepTime
from nasoa_runtime.documents.base import Document
from nasoa_runtime.documents.outcomes import OutcomeRecord
from nasoa_runtime.documents.zoo import ZooModel

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Event:
    """A Kubernetes Event about the owner; ``key`` makes its name, so that it is written once."""

    reason: str
    message: str
    key: str
    type: Literal["Normal", "Warning"] = "Normal"


@dataclass(frozen=True)
class Write:
    """A decision or a record: written create-only to the system bucket; what is there already wins."""

    key: str
    document: Document
    event: Event | None = None
    """Said once the document exists."""


@dataclass(frozen=True)
class Learn:
    """Teach the zoo's predictor what a request's runs showed, exactly once."""

    record: OutcomeRecord
    receipt_key: str
    """Where it is recorded that this was done."""


@dataclass(frozen=True)
class Publish:
    """Check the pretrained weights, copy them to the zoo and enter them in its manifest."""

    zoo: str
    owner: str
    models: tuple[ZooModel, ...]
    """Their weights are where the pods left them."""
    extractor: Extractor | None
    prototypes: Mapping[str, str]
    """Source name -> tenant-side URI of its class prototypes."""
    receipt_key: str
    """Where it is recorded that this was done."""
    stop_key: str
    """Where it is recorded if it can't be done."""


@dataclass(frozen=True)
class AddStepTimes:
    """Enter what a probe measured in the zoo's step-time table and step factors."""

    zoo: str
    rows: Mapping[str, tuple[StepTime, ...]]
    factors: Mapping[str, StepFactors] = field(default_factory=dict)


Action = Learn | Publish | AddStepTimes


@dataclass(frozen=True)
class SuspendJob:
    """Suspend or resume a Job, or the Kueue Workload of one that has a queue."""

    name: str
    suspend: bool


@dataclass(frozen=True)
class Plan:
    """What follows from one observation."""

    writes: tuple[Write, ...] = ()
    actions: tuple[Action, ...] = ()
    jobs: tuple[Manifest, ...] = ()
    suspensions: tuple[SuspendJob, ...] = ()
    delete_jobs: tuple[str, ...] = ()
    status: Mapping[str, Any] | None = None
    events: tuple[Event, ...] = field(default=())
    requeue_seconds: float | None = None
    """Look again after this long even if nothing happens."""
    again: bool = False
    """Observe and plan again at once: a document was written that the next step builds on."""
