"""What a checkpoint says besides its tensors; it is kept in the header of the safetensors object that holds those."""

from __future__ import annotations

from pydantic import Field

from nasoa_runtime.boundary import (
    MOST_POINTS,
    Accuracy,
    CurvePoint,
    Finite,
    Record,
    Regime,
    Run,
    Seconds,
    SecondsOrZero,
)
from nasoa_runtime.documents.base import Document


class ScalerState(Record):
    """A gradient scaler of fp16."""

    scale: Finite
    growth_factor: Finite
    backoff_factor: Finite
    growth_interval: int
    growth_tracker: int


class TrainerState(Record):
    """How far a training has come."""

    step: int = Field(ge=0)
    progress: float = Field(ge=0, le=1)
    """Share of the learning rate's course that is done."""
    planned_steps: int = Field(ge=0)
    scaler: ScalerState | None = None
    windows: tuple[tuple[Seconds, SecondsOrZero], ...] = ()
    """Means of the last windows of steps: seconds of a step, and seconds that it waited for its batch."""


class CheckpointState(Document):
    """What every checkpoint says."""

    trainer: TrainerState
    seconds: SecondsOrZero
    """That the run has taken, over all attempts."""


class TrainingState(CheckpointState):
    """Of a training from scratch."""

    architecture: str


class BestSoFar(Record):
    """The best weights of a run, whose tensors are beside the last ones."""

    accuracy: Accuracy
    step: int = Field(ge=0)
    averaged: bool = False
    """Whether they are the average over the run up to there."""


class FinetuningState(CheckpointState):
    """Of a request: the regime that is being run, and the runs that came before it."""

    regime: Regime
    best: BestSoFar | None = None
    runs: tuple[Run, ...] = ()
    points: tuple[CurvePoint, ...] = Field(default=(), max_length=MOST_POINTS)
    """Validations so far."""
