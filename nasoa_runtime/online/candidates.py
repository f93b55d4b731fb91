"""What the generator works on, and what it suggests: the request, the zoo as it is on its device, candidates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from nasoa_runtime.architecture.structure import FROZEN_STAGES
from nasoa_runtime.documents.outcomes import ModelFacts


@dataclass(frozen=True)
class Grid:
    """Which candidates are considered."""

    learning_rates: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1)
    frozen_stages: tuple[int, ...] = FROZEN_STAGES
    fractions: tuple[float, ...] = (1.0, 0.5, 0.25, 0.125)
    """Shares of the most iterations that T_l allows."""
    most_epochs: float = 200.0
    least_steps: int = 4
    """Fewer steps are not scheduled: warm-up and cosine need some."""

    def __post_init__(self) -> None:
        if not (self.learning_rates and self.frozen_stages and self.fractions):
            msg = "the grid needs a learning rate, a number of frozen stages and a fraction"
            raise ValueError(msg)
        if min(self.learning_rates) <= 0 or min(self.fractions) <= 0 or max(self.fractions) > 1:
            msg = "the grid's learning rates must be positive, its fractions in (0, 1]"
            raise ValueError(msg)
        if self.least_steps < 1 or self.most_epochs <= 0:
            msg = "the grid's least steps must be at least 1, its epochs positive"
            raise ValueError(msg)


@dataclass(frozen=True)
class ModelChoice:
    """A zoo model, with what the step-time table says of it on the request's device, batch and image size."""

    facts: ModelFacts
    step_seconds: Mapping[int, float]
    """Frozen stages -> seconds a step; a number that is absent was not measured and is no candidate."""
    inference_seconds_per_image: float

    @property
    def name(self) -> str:
        """The model's name in the zoo."""
        return self.facts.name


@dataclass(frozen=True)
class Overheads:
    """What a run costs beside its steps, and how the node differs from the table."""

    startup_seconds: float
    """From process start to the first step: imports, data, weights."""
    upload_seconds: float
    """Reserve for writing the deliverable."""
    loading_seconds_per_image: float = 0.0
    """What a step or a validation waits for each of its images."""
    step_correction: float = 1.0
    """Seconds a step on this node over the table's."""
    validations: int = 4
    """How often the validation split is read."""
    margin: float = 0.02
    """Share of T_l that stays unplanned, for what no probe foresees."""


@dataclass(frozen=True)
class Request:
    """What a FineTuneRequest asks for."""

    time_limit_seconds: float
    """T_l."""
    batch_size: int
    model: str | None = None
    learning_rate: float | None = None
    frozen_stages: int | None = None
    steps: int | None = None
    """Pins: ``None`` leaves the choice to the predictor."""
    most_parameters: int | None = None
    most_inference_milliseconds: float | None = None
    """For one image, at the table's batch size."""
    infeasible: frozenset[str] = frozenset()
    """Models that ran out of memory with this batch and image size on this device."""
    strategy: str = "OneShot"
    """A name of :data:`~nasoa_runtime.online.strategies.STRATEGIES`: what of the ranking is handed over."""


@dataclass(frozen=True)
class Candidate:
    """A model and a regime that fit in T_l."""

    model: str
    learning_rate: float
    frozen_stages: int
    iterations: int
    step_seconds: float
    """Loading included."""
    seconds: float
    """The whole run, start-up to upload; at most T_l."""
    predicted_accuracy: float
    predicted_curve: tuple[tuple[int, float], ...] = ()
    """Steps, and the accuracy predicted for just so many; only where the strategy asks for it."""


@dataclass(frozen=True)
class Suggestion:
    """What to run, and what came next."""

    chosen: Candidate
    runners_up: tuple[Candidate, ...]
    """What the strategy hands over behind it, best first."""
    candidates: int
    """How many were ranked."""
    predictor_version: int


@dataclass(frozen=True)
class NothingFits:
    """No candidate: T_l is too short, or no model is left at any T_l."""

    reason: Literal["TimeLimitTooShort", "UnknownModel", "NoModelWithinLimits", "NothingMeasured"]
    message: str
    least_seconds: float | None = None
    """The least T_l with which planning succeeds; ``None`` if none does."""
