"""What a NASSearch says of itself: where it is, what it has found, what it has published."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, computed_field

from nasoa_runtime.api.base import StatusPart
from nasoa_runtime.api.conditions import Conditions, Message
from nasoa_runtime.api.types import Count, Fraction, Timestamp, percent

SearchPhase = Literal[
    "Pending", "BlockSearch", "MacroSearch", "Pretraining", "Publishing", "Succeeded", "Failed", "Suspended"
]


class FrontMember(StatusPart):
    """An architecture of the Pareto front: none is both faster and more accurate."""

    architecture: str = Field(max_length=256)
    """Encoding of the architecture; `nasoa arch describe` tells what it is."""
    accuracy: Fraction
    """Top-1 accuracy on the validation images after the evaluation's short training, from 0 to 1."""
    step_seconds: float = Field(gt=0)
    """Time of one training step on the reference device, in seconds."""


class SpaceSize(StatusPart):
    """Number of members of the space that is searched."""

    block: Count | None = None
    """Number of block structures that are valid and differ."""
    macro: Count | None = None
    """Number of macro structures within the bounds."""


class PublishedZoo(StatusPart):
    """What the search has given to the zoo."""

    name: str = Field(max_length=63)
    """Name of the zoo, which requests name in spec.zoo."""
    models: int = Field(default=0, ge=0)
    """Number of models that this search has published."""
    version: int | None = Field(default=None, ge=0)
    """Version of the zoo that was the first to have them."""


class NASSearchStatus(StatusPart):
    """What came of the search so far; the full record is in S3."""

    observed_generation: int = Field(default=0, ge=0)
    """Generation of the object (metadata.generation) that this status describes."""
    phase: SearchPhase = "Pending"
    """Where the search is: Pending until it is accepted; BlockSearch; MacroSearch; Pretraining the selected models;
    Publishing them; then Succeeded or Failed. Suspended while spec.suspend holds it."""
    conditions: Conditions = ()
    """Accepted, Progressing, and at the end Complete or Failed. PodsRunnable, StorageReachable and DocumentsReadable
    appear once something has stood in the way, and are False while it does."""
    level: Literal["block", "macro"] | None = None
    """The level that is searched now, or was last: block structures, or macro structures."""
    generation: int | None = Field(default=None, ge=0)
    """The generation that is evaluated now, counted from 1 on each level."""
    generations: int | None = Field(default=None, ge=0)
    """Number of generations that are planned on this level."""
    evaluated: int = Field(default=0, ge=0)
    """Number of architectures that have been evaluated, on both levels together."""
    failed: int = Field(default=0, ge=0)
    """Number of evaluations that failed, on both levels together. They rank last."""
    best_accuracy: Fraction | None = None
    """The best top-1 accuracy on the validation images on this level, from 0 to 1."""
    front_size: int | None = Field(default=None, ge=0)
    """Number of architectures on this level's Pareto front."""
    hypervolume: float | None = Field(default=None, ge=0)
    """Area that this level's Pareto front dominates, in seconds: accuracy times step time saved. It grows as the search
    gets better."""
    front: tuple[FrontMember, ...] = Field(default=(), max_length=10)
    """The most accurate architectures of this level's Pareto front, most accurate first."""
    eta: Timestamp | None = None
    """When both levels should be done, at the pace of the generations so far. Pretraining comes after that."""
    zoo: PublishedZoo | None = None
    """What the search has given to the zoo, once it has succeeded."""
    space_size: SpaceSize | None = None
    """Number of members of the space that is searched."""
    start_time: Timestamp | None = None
    """When the search was accepted for the first time."""
    completion_time: Timestamp | None = None
    """When the search succeeded or failed."""
    gpu_seconds: float = Field(default=0, ge=0)
    """GPU-seconds of all pods that have ended: their seconds, times the GPUs of each pod (times its cores on CPUs)."""
    message: Message | None = None
    """What the search does or waits for, or why it failed."""

    @computed_field(json_schema_extra={"maxLength": 32})  # type: ignore[prop-decorator]
    @property
    def progress(self) -> str | None:
        """Level and generation of those planned, such as block 2/3."""
        if self.level is None or self.generation is None or self.generations is None:
            return None
        return f"{self.level} {self.generation}/{self.generations}"

    @computed_field(json_schema_extra={"maxLength": 16})  # type: ignore[prop-decorator]
    @property
    def best(self) -> str | None:
        """The best accuracy of this level in percent, such as 87.6%."""
        return percent(self.best_accuracy)
