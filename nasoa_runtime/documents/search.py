"""The documents of a search, one for each of its steps: what was proposed, measured, decided, evaluated, published."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, Field

from nasoa_runtime.boundary import (
    Accuracy,
    Device,
    Extractor,
    Failure,
    Finite,
    Measurement,
    PretrainResult,
    Record,
    Seconds,
    SecondsOrZero,
)
from nasoa_runtime.documents.base import Document

StepTimeSource = Literal["prometheus", "termination-message"]
"""Where the step time that counts was seen first."""
EarlyEnd = Literal["SpaceExhausted", "NoneWithinStepTime"]
"""Why a generation has fewer than N members, and its level ends with it."""
EndReason = Literal["Completed", "EvaluationsSpent", "SpaceExhausted", "NoneWithinStepTime"]
"""Why a level has ended."""


class AcceptedSearch(Document):
    """``spec``: the search as it was accepted, and who may resume it."""

    namespace: str
    name: str
    spec: dict[str, Any]
    """As in YAML."""


class ProposedArchitecture(Record):
    """One member of a list of proposals."""

    slot: int = Field(ge=0)
    encoding: str
    parents: tuple[str, ...]
    mutations: tuple[str, ...]


class Proposals(Document):
    """``list``: unseen architectures of which step times are to be measured; none when the space is exhausted."""

    proposals: tuple[ProposedArchitecture, ...]


class MeasuredArchitecture(Record):
    """A proposed architecture's step time, or why there is none."""

    encoding: str
    step_seconds: Seconds | None
    """The first one that was seen, from whichever source."""
    source: StepTimeSource
    difference_seconds: Finite | None
    """Scraped step time minus the pod's own, where both are known."""
    failure: Failure | None
    message: str


class Measurements(Document):
    """``profile``: what the parent node measured of a list of proposals."""

    measurements: tuple[MeasuredArchitecture, ...]
    device: Device
    anchor_step_seconds: Seconds | None
    seconds: SecondsOrZero


class Member(Record):
    """A new architecture of a generation."""

    slot: int = Field(ge=0)
    encoding: str
    step_seconds: Seconds
    source: StepTimeSource


class Generation(Document):
    """``generation``: who its N members are."""

    members: tuple[Member, ...]
    ends_level: EarlyEnd | None
    decided_at: AwareDatetime


class Evaluation(Record):
    """What a member's short training reached, or why it failed."""

    slot: int = Field(ge=0)
    encoding: str
    step_seconds: Seconds
    """T_s as the parent node measured it."""
    accuracy: Accuracy | None
    failure: str | None
    message: str
    seconds: SecondsOrZero


class Evaluations(Document):
    """``evaluations``: what a generation reached."""

    evaluations: tuple[Evaluation, ...]
    recorded_at: AwareDatetime


class LevelEnd(Document):
    """``end``: how a level ended."""

    reason: EndReason
    evaluated: int = Field(ge=0)
    hypervolume: float = Field(ge=0)
    front: tuple[str, ...]
    blocks: tuple[str, ...]
    """With which the macro level builds; none of the macro level itself."""
    ended_at: AwareDatetime


class Limit(Document):
    """``limit``: a limit of the spec has ended the search early."""

    reason: Literal["LimitReached"] = "LimitReached"
    message: str
    reached_at: AwareDatetime


class Stop(Document):
    """``stop``: the search can't go on."""

    reason: str
    message: str
    stopped_at: AwareDatetime


class Selected(Record):
    """An architecture that becomes a model of the zoo."""

    encoding: str
    accuracy: Accuracy
    """After its evaluation's short training."""
    step_seconds: Seconds
    front_rank: int = Field(ge=0)


class Selection(Document):
    """``selection``: the K architectures that are pretrained, and the feature extractor their zoo is pinned to."""

    members: tuple[Selected, ...] = Field(min_length=1)
    extractor: Extractor | None


class PretrainedModel(Record):
    """A selected architecture after its full training."""

    index: int = Field(ge=0)
    """Its place in the selection."""
    selected: Selected
    result: PretrainResult
    weights_uri: str


class FailedPretraining(Record):
    """A selected architecture without weights."""

    encoding: str
    failure: str
    message: str


class Pretrained(Document):
    """``pretrained``: what became of the selection."""

    models: tuple[PretrainedModel, ...] = Field(min_length=1)
    failed: tuple[FailedPretraining, ...]
    recorded_at: AwareDatetime


class StepTimeTable(Document):
    """``table``: step times of the pretrained models in all ways of freezing them, and their source's prototypes."""

    measurements: tuple[Measurement, ...]
    prototypes_uri: str | None
    prototypes_digest: str | None
    seconds: SecondsOrZero


class Published(Document):
    """``published``: what the zoo got."""

    models: tuple[str, ...]
    version: int = Field(ge=1)
    refused: tuple[str, ...]
    """Models whose weights were not accepted, each with why."""
