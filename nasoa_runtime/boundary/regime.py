"""A regime: a zoo model, and all that is to be said about how it is fine-tuned.

Every field behind the planned ones has a default, and all defaults together are what a regime was before it could say
more: SGD with Nesterov momentum on random crops. So schedules and checkpoints that leave them out mean the same runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from nasoa_runtime.architecture.structure import HEAD_ONLY
from nasoa_runtime.boundary.base import Accuracy, FrozenStages, Positive, Record, Seconds

OptimizerName = Literal["sgd", "adamw"]
AugmentationName = Literal["crop", "rand-augment", "trivial-augment"]
OPTIMIZERS: Mapping[OptimizerName, str] = {"sgd": "SGD", "adamw": "AdamW"}
AUGMENTATIONS: Mapping[AugmentationName, str] = {
    "crop": "Crop",
    "rand-augment": "RandAugment",
    "trivial-augment": "TrivialAugment",
}
"""What people call them."""
MOST_REGIMES = 27
"""That a request is handed."""
MOST_PREDICTED_POINTS = 8
"""Of a predicted curve."""

PredictedPoint = tuple[Annotated[int, Field(ge=1)], Accuracy]
"""Steps, and the accuracy predicted for a run of just so many."""


class Regime(Record):
    """A zoo model and how it is fine-tuned."""

    model: str
    learning_rate: Positive
    """The highest: it rises linearly, then falls as a cosine."""
    frozen_stages: FrozenStages
    steps: int = Field(ge=1)
    step_seconds: Seconds
    """Planned; the runtime re-plans from what it sees."""
    predicted_accuracy: Accuracy
    optimizer: OptimizerName = "sgd"
    """SGD is with Nesterov momentum."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Share that the running mean of gradients keeps at each step: SGD's momentum, AdamW's first beta."""
    weight_decay: float = Field(default=1e-4, ge=0, allow_inf_nan=False)
    """Of SGD it is added to the gradient, of AdamW it is apart from it; biases and normalisation are not decayed."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """The learning rate of the classifier times this to the power of how many stages earlier: 1 treats all alike."""
    batch_size: int | None = Field(default=None, ge=1)
    """``None`` leaves it to the input."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    mixup: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Alpha of the Beta distribution from which the share of each of two mixed images is drawn; 0 mixes none."""
    mirroring: bool = False
    """Whether every second image is mirrored: not for digits, letters and whatever else has a left and a right."""
    augmentation: AugmentationName = "crop"
    """Images are always cropped; the others of these change colours and shapes before that."""
    ema: bool = False
    """Whether weights are also averaged over the run; validation decides which of both are delivered."""
    linear_probe: bool = False
    """Whether the classifier is trained on features that are computed once for each image, as it is."""
    predicted_low: Accuracy | None = None
    """Nine of ten accuracies should lie between this and :attr:`predicted_high`; ``None`` where that was not asked."""
    predicted_high: Accuracy | None = None
    predicted_curve: tuple[PredictedPoint, ...] = Field(default=(), max_length=MOST_PREDICTED_POINTS)
    """By steps, accuracies never falling; for a race, which asks what more steps are worth. Else it is empty."""

    def predicted_gain(self, done: int, end: int) -> float:
        """The accuracy that is predicted to be gained from step ``done`` to step ``end``: never negative.

        Between the curve's points it is linear in the logarithm of the steps, and beyond them it is level.
        """
        return max(0.0, self._predicted(end) - self._predicted(done))

    def _predicted(self, steps: int) -> float:
        curve = self.predicted_curve
        if not curve:
            return self.predicted_accuracy
        for (low, lower), (high, higher) in pairwise(curve):
            if low <= steps < high:
                return lower + (higher - lower) * math.log(steps / low) / math.log(high / low)
        return curve[0][1] if steps < curve[0][0] else curve[-1][1]

    @model_validator(mode="after")
    def _curve_rises(self) -> Regime:
        if any(low >= high or lower > higher for (low, lower), (high, higher) in pairwise(self.predicted_curve)):
            msg = "predicted_curve: steps must rise from point to point, and accuracies must not fall"
            raise ValueError(msg)
        return self

    @property
    def interval(self) -> str | None:
        """The interval around the prediction in percent, such as "61.2 to 95.4%"; ``None`` where there is none."""
        if self.predicted_low is None or self.predicted_high is None:
            return None
        return f"{100 * self.predicted_low:.1f} to {100 * self.predicted_high:.1f}%"

    @property
    def options(self) -> str:
        """What differs from a plain regime, in a few words such as "AdamW, layer decay 0.75, EMA"; often nothing.

        Model, learning rate, frozen stages, steps and batch size are left to whoever asks.
        """
        plain = {name: field.default for name, field in Regime.model_fields.items()}
        numbers = ("momentum", "weight_decay", "layer_decay", "label_smoothing", "mixup")
        words = ["linear probe"] if self.linear_probe else []
        words += [OPTIMIZERS[self.optimizer]] if self.optimizer != plain["optimizer"] else []
        for name in numbers:
            value = getattr(self, name)
            words += [f"{name.replace('_', ' ')} {value:g}"] if value != plain[name] else []
        words += ["mirroring"] if self.mirroring else []
        words += [AUGMENTATIONS[self.augmentation]] if self.augmentation != plain["augmentation"] else []
        return ", ".join(words + (["EMA"] if self.ema else []))

    @model_validator(mode="after")
    def _probes_see_images_as_they_are(self) -> Regime:
        if not self.linear_probe:
            return self
        if self.frozen_stages != HEAD_ONLY:
            msg = f"linear_probe: features are computed once only if all {HEAD_ONLY} stages are frozen"
            raise ValueError(msg)
        if self.mixup or self.mirroring or self.augmentation != "crop":
            msg = "linear_probe: features are those of images as they are, neither mixed, mirrored nor augmented"
            raise ValueError(msg)
        return self
