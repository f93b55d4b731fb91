"""What the generator works on, and what it suggests: the request, the zoo as it is on its device, candidates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from nasoa_runtime.architecture.structure import FROZEN_STAGES, HEAD_ONLY
from nasoa_runtime.boundary import AugmentationName, OptimizerName, Regime
from nasoa_runtime.documents.outcomes import ModelFacts


@dataclass(frozen=True)
class ModelChoice:
    """A zoo model, with what the step-time table says of it on the request's device, batch and image size."""

    facts: ModelFacts
    step_seconds: Mapping[int, float]
    """Frozen stages -> seconds a step of :attr:`batch_size` images; a number that is absent was not measured and is no
    candidate."""
    inference_seconds_per_image: float
    """Loading not included."""
    batch_size: int = 32
    other_batches: Mapping[int, float] = field(default_factory=dict)
    """Batch size -> seconds a step with nothing frozen, of other sizes that were measured."""
    step_factors: Mapping[str, float] = field(default_factory=dict)
    """Option -> by how much it slows a step with nothing frozen; one that is absent was not measured."""

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
    augmentation_startup_seconds: float = 0.0
    """What RandAugment and TrivialAugment need before the first step, beside that: a library that plain runs spare."""
    margin: float = 0.02
    """Share of T_l that stays unplanned, for what no probe foresees."""


@dataclass(frozen=True)
class Request:
    """What a FineTuneRequest asks for."""

    time_limit_seconds: float
    """T_l."""
    batch_size: int | None = None
    model: str | None = None
    learning_rate: float | None = None
    frozen_stages: int | None = None
    steps: int | None = None
    optimizer: OptimizerName | None = None
    weight_decay: float | None = None
    layer_decay: float | None = None
    label_smoothing: float | None = None
    mixup: float | None = None
    mirroring: bool | None = None
    augmentation: AugmentationName | None = None
    ema: bool | None = None
    linear_probe: bool | None = None
    """Pins, from the batch size on: ``None`` leaves the choice to the predictor."""
    most_parameters: int | None = None
    most_inference_milliseconds: float | None = None
    """For one image, at the table's batch size."""
    infeasible: frozenset[str] = frozenset()
    """Models that ran out of memory with this batch and image size on this device."""
    strategy: str = "OneShot"
    """A name of :data:`~nasoa_runtime.online.strategies.STRATEGIES`: what of the ranking is handed over."""
    seed: int = 0
    """By which candidates are drawn where there are too many."""

    @property
    def may_probe(self) -> bool:
        """Whether all that is pinned is true of a linear probe, which trains the classifier on images as they are."""
        return (
            self.frozen_stages in {None, HEAD_ONLY}
            and not self.mixup
            and not self.mirroring
            and self.augmentation in {None, "crop"}
        )


@dataclass(frozen=True)
class Grid:
    """Which candidates are considered: the product of its lists, with linear probes or without.

    The most sensible value of a list stands first: of candidates that nothing tells apart, one of first values wins.
    """

    learning_rates: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1)
    """Of SGD."""
    frozen_stages: tuple[int, ...] = FROZEN_STAGES
    fractions: tuple[float, ...] = (1.0, 0.5, 0.25, 0.125)
    """Shares of the most iterations that T_l allows."""
    most_epochs: float = 200.0
    least_steps: int = 4
    """Fewer steps are not scheduled: warm-up and cosine need some."""
    optimizers: tuple[OptimizerName, ...] = ("sgd",)
    adamw_learning_rates: tuple[float, ...] = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
    """AdamW's steps have the size of the rate, whatever the gradient's, so its rates are of another scale."""
    batch_sizes: tuple[int, ...] = (32,)
    weight_decays: tuple[float, ...] = (1e-4,)
    """Of SGD."""
    adamw_weight_decays: tuple[float, ...] = (0.05, 0.01)
    """AdamW multiplies them by the rate before it takes them off, so that they are larger for the same effect."""
    layer_decays: tuple[float, ...] = (1.0,)
    label_smoothings: tuple[float, ...] = (0.0,)
    mixups: tuple[float, ...] = (0.0,)
    mirrorings: tuple[bool, ...] = (False,)
    augmentations: tuple[AugmentationName, ...] = ("crop",)
    emas: tuple[bool, ...] = (False,)
    trainings: bool = True
    """Whether anything but linear probes is considered."""
    linear_probes: bool = False
    """Whether linear probes are considered too: whatever :attr:`frozen_stages` and what is done to images say."""

    def __post_init__(self) -> None:
        if () in vars(self).values():
            msg = "the grid needs a value of everything: a learning rate, a number of frozen stages, a fraction..."
            raise ValueError(msg)
        if min(self.learning_rates + self.adamw_learning_rates) <= 0:
            msg = "the grid's learning rates must be positive"
            raise ValueError(msg)
        if min(self.fractions) <= 0 or max(self.fractions) > 1:
            msg = "the grid's fractions must be in (0, 1]"
            raise ValueError(msg)
        if self.least_steps < 1 or self.most_epochs <= 0:
            msg = "the grid's least steps must be at least 1, its epochs positive"
            raise ValueError(msg)
        if not (self.trainings or self.linear_probes):
            msg = "the grid needs trainings, linear probes or both"
            raise ValueError(msg)

    def rates_of(self, optimizer: OptimizerName) -> tuple[float, ...]:
        """The learning rates that suit an optimizer."""
        return self.adamw_learning_rates if optimizer == "adamw" else self.learning_rates

    def weight_decays_of(self, optimizer: OptimizerName) -> tuple[float, ...]:
        """The weight decays that suit an optimizer."""
        return self.adamw_weight_decays if optimizer == "adamw" else self.weight_decays

    @property
    def has_options(self) -> bool:
        """Whether anything may be chosen that slows a step."""
        plain = (("sgd",), ("crop",), (False,), (False,))
        lists = (self.optimizers, self.augmentations, self.mirrorings, self.emas)
        return self.trainings and (lists != plain or max(self.mixups) > 0)

    def pinned(self, request: Request) -> Grid:
        """The grid as a request's pins leave it: one value of what is pinned, in the grid or not."""
        changes: dict[str, Any] = {
            name: (value,)
            for name, value in {
                "learning_rates": request.learning_rate,
                "adamw_learning_rates": request.learning_rate,
                "frozen_stages": request.frozen_stages,
                "optimizers": request.optimizer,
                "batch_sizes": request.batch_size,
                "weight_decays": request.weight_decay,
                "adamw_weight_decays": request.weight_decay,
                "layer_decays": request.layer_decay,
                "label_smoothings": request.label_smoothing,
                "mixups": request.mixup,
                "mirrorings": request.mirroring,
                "augmentations": request.augmentation,
                "emas": request.ema,
            }.items()
            if value is not None
        }
        if request.steps is not None:
            changes["fractions"] = (1.0,)
        if request.linear_probe:
            changes |= {"trainings": False, "linear_probes": True}
        elif request.linear_probe is False or not request.may_probe:
            changes |= {"trainings": True, "linear_probes": False}
        return replace(self, **changes)


PAPER = Grid()
"""What the paper's generator chooses among: SGD on crops, as it always was."""
DEFAULT = replace(
    PAPER,
    fractions=(1.0, 0.5, 0.25),
    optimizers=("sgd", "adamw"),
    batch_sizes=(32, 16, 64),
    weight_decays=(1e-4, 1e-3),
    layer_decays=(1.0, 0.7),
    label_smoothings=(0.0, 0.1),
    mixups=(0.0, 0.2),
    augmentations=("crop", "trivial-augment", "rand-augment"),
    emas=(False, True),
    linear_probes=True,
)
"""The regimes of practitioners. Nothing is mirrored: digits and letters have a left and a right."""
PRESETS: Mapping[str, Grid] = {"Default": DEFAULT, "Paper": PAPER}
"""By the names that requests have for them."""


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
    batch_size: int
    optimizer: OptimizerName = "sgd"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    layer_decay: float = 1.0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    mirroring: bool = False
    augmentation: AugmentationName = "crop"
    ema: bool = False
    linear_probe: bool = False
    predicted_low: float | None = None
    """Nine of ten accuracies should lie between this and :attr:`predicted_high`; of what is handed over only, as it
    takes longer than the prediction."""
    predicted_high: float | None = None
    predicted_curve: tuple[tuple[int, float], ...] = ()
    """Steps, and the accuracy predicted for just so many; only where the strategy asks for it."""

    @property
    def regime(self) -> Regime:
        """The candidate as the pod gets it."""
        fields = {**vars(self), "steps": self.iterations}
        return Regime.model_validate({name: fields[name] for name in Regime.model_fields})


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
    field: str | None = None
    """The field of the spec that is to blame, where the reason alone does not tell."""
