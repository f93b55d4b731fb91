"""The spec of a FineTuneRequest: which data, in which time, from which zoo.

Docstrings of classes and fields are what `kubectl explain` prints; see :mod:`nasoa_runtime.api.parts`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticKnownError

from nasoa_runtime.api.base import SpecPart
from nasoa_runtime.api.parts import DatasetSpec, DeviceSpec, PodTemplate, StorageSpec
from nasoa_runtime.api.rules import Rule
from nasoa_runtime.api.types import (
    Augmentation,
    BatchSize,
    Duration,
    FrozenStages,
    LabelSmoothing,
    LayerDecay,
    LearningRate,
    Mixup,
    Name,
    Optimizer,
    OutputUri,
    Preset,
    Seed,
    StepFraction,
    WeightDecay,
)
from nasoa_runtime.architecture.structure import FROZEN_STAGES, HEAD_ONLY
from nasoa_runtime.online.strategies import STRATEGIES


def _is_strategy(name: str) -> str:
    if name not in STRATEGIES:
        raise PydanticKnownError("literal_error", {"expected": " or ".join(repr(known) for known in STRATEGIES)})
    return name


Strategy = Annotated[str, AfterValidator(_is_strategy), Field(json_schema_extra={"enum": list(STRATEGIES)})]
ModelName = Annotated[str, Field(min_length=1, max_length=128)]


PROBE_SEES = "a linear probe trains on images as they are"


def _only_with(field: str, allowed: str, holds: Callable[[Any], bool], message: str) -> Rule:
    """A pinned linear probe leaves ``field`` out, or has it as ``allowed`` says in CEL."""
    name = to_camel(field)
    return Rule(
        f"!has(self.linearProbe) || !self.linearProbe || !has(self.{name}) || {allowed}",
        lambda pins: not pins.linear_probe or getattr(pins, field) is None or holds(getattr(pins, field)),
        message,
        field_path=f".{name}",
    )


class Pins(SpecPart):
    """What the schedule must have; the predictor chooses the rest."""

    RULES = (
        _only_with(
            "frozen_stages",
            f"self.frozenStages == {HEAD_ONLY}",
            lambda stages: stages == HEAD_ONLY,
            f"a linear probe trains the classifier only: leave frozenStages out or write {HEAD_ONLY}, or leave"
            " linearProbe out",
        ),
        _only_with(
            "mixup",
            "self.mixup == 0.0",
            lambda alpha: alpha == 0,
            f"{PROBE_SEES}: leave mixup out or write 0, or leave linearProbe out",
        ),
        _only_with(
            "mirroring",
            "!self.mirroring",
            lambda mirrors: not mirrors,
            f"{PROBE_SEES}: leave mirroring out or write false, or leave linearProbe out",
        ),
        _only_with(
            "augmentation",
            "self.augmentation == 'Crop'",
            lambda name: name == "Crop",
            f"{PROBE_SEES}: leave augmentation out or write Crop, or leave linearProbe out",
        ),
    )

    model: ModelName | None = None
    """The zoo's model to fine-tune; `nasoa zoo show` lists them. When left out, the predictor chooses one."""
    learning_rate: LearningRate | None = None
    """Peak learning rate: it is reached after a linear warm-up, and a cosine takes it to zero. When left out, the
    predictor chooses one of grid.learningRates."""
    frozen_stages: FrozenStages | None = None
    """How much of the model is not trained: 0 trains all of it, 1 freezes the stem, k freezes the stem and the stages
    up to k - 1, and 5 trains the classifier only. When left out, the predictor chooses one of grid.frozenStages."""
    steps: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """Number of training steps; the request fails if they don't fit in the time limit. In a race it is the most that
    any candidate does: write strategy: OneShot to have just so many. When left out, the predictor chooses among what
    fits."""
    optimizer: Optimizer | None = None
    """SGD (with Nesterov momentum) or AdamW. When left out, the predictor chooses one of grid.optimizers. Pin
    learningRate too only if it suits this optimizer: AdamW's are mostly ten to a hundred times smaller."""
    batch_size: BatchSize | None = None
    """Number of images in one training step, the same as spec.batchSize: write one of both. When left out, the
    predictor chooses one of grid.batchSizes."""
    weight_decay: WeightDecay | None = None
    """Weight decay, such as 0.0001 with SGD or 0.05 with AdamW. When left out, the predictor chooses one of
    grid.weightDecays."""
    layer_decay: LayerDecay | None = None
    """Factor of the learning rate from each stage to the one before it, from 0 (which it may not be) to 1: with 0.75,
    stages learn the more slowly the earlier they are; 1 treats all alike. When left out, the predictor chooses one of
    grid.layerDecays."""
    label_smoothing: LabelSmoothing | None = None
    """Share of each image's label that is spread over all classes, from 0 to below 1. When left out, the predictor
    chooses one of grid.labelSmoothings."""
    mixup: Mixup | None = None
    """Strength with which images are mixed in pairs (alpha of mixup's Beta distribution): 0 mixes none. When left out,
    the predictor chooses one of grid.mixups."""
    mirroring: bool | None = None
    """Whether every second image is mirrored. When left out, the predictor chooses one of grid.mirrorings."""
    augmentation: Augmentation | None = None
    """What is done to training images: Crop only crops them, RandAugment and TrivialAugment also change colours and
    shapes. When left out, the predictor chooses one of grid.augmentations."""
    ema: bool | None = None
    """Whether weights are averaged over the training; validation then decides whether they or their average are
    delivered. When left out, the predictor chooses one of grid.emas."""
    linear_probe: bool | None = None
    """With true, the classifier is trained on features that the model computes once for each image, and nothing else is
    considered; with false, that is not considered. When left out, grid.linearProbe says whether it is."""


class RequestLimits(SpecPart):
    """What the delivered model may need at most."""

    max_parameters: int | None = Field(default=None, ge=1, le=2**53)
    """The most parameters (weights) that the model may have, such as 5000000. When left out, any number will do."""
    max_inference_milliseconds: float | None = Field(default=None, gt=0, le=1e9)
    """The longest that the model may take for one image, in milliseconds, measured on the request's device at its batch
    size. When left out, any time will do."""


class GridSpec(SpecPart):
    """The candidates: every model of the zoo with the combinations of these values that fit in the time limit. Of more
    than 8000, the seed draws as many, such that each value occurs. A pin replaces its list."""

    preset: Preset = "Default"
    """Which values each list has that is left out. Default has the regimes of practitioners; Paper has those of the
    NASOA paper, which are SGD on crops with batches of 32 images, and no linear probes."""
    learning_rates: tuple[LearningRate, ...] | None = Field(default=None, min_length=1, max_length=16)
    """The peak learning rates that may be chosen, whatever the optimizer. When left out, they are 0.001, 0.003, 0.01,
    0.03 and 0.1 with SGD, and 0.00003, 0.0001, 0.0003, 0.001 and 0.003 with AdamW."""
    frozen_stages: tuple[FrozenStages, ...] | None = Field(default=None, min_length=1, max_length=len(FROZEN_STAGES))
    """The numbers of frozen stages that may be chosen: 0 trains the whole model, 5 the classifier only. The less is
    trained, the more steps fit in the same time. When left out, they are 0 to 5."""
    step_fractions: tuple[StepFraction, ...] | None = Field(default=None, min_length=1, max_length=16)
    """How long a training may be, as fractions of the most steps that fit in the time limit. Keep only 1 to use all of
    the time. When left out, they are 1, 0.5 and 0.25, and with Paper 0.125 too."""
    optimizers: tuple[Optimizer, ...] | None = Field(default=None, min_length=1, max_length=16)
    """The optimizers that may be chosen: SGD is with Nesterov momentum. When left out, they are SGD and AdamW, and with
    Paper SGD only."""
    batch_sizes: tuple[BatchSize, ...] | None = Field(default=None, min_length=1, max_length=16)
    """The numbers of images in one training step that may be chosen; spec.batchSize replaces them. When left out, they
    are 32, 16 and 64, and with Paper 32 only."""
    weight_decays: tuple[WeightDecay, ...] | None = Field(default=None, min_length=1, max_length=16)
    """The weight decays that may be chosen, whatever the optimizer. When left out, they are 0.0001 and 0.001 with SGD
    (with Paper 0.0001 only), and 0.05 and 0.01 with AdamW."""
    layer_decays: tuple[LayerDecay, ...] | None = Field(default=None, min_length=1, max_length=16)
    """The factors of the learning rate from each stage to the one before it that may be chosen; 1 treats all stages
    alike. When left out, they are 1 and 0.7, and with Paper 1 only."""
    label_smoothings: tuple[LabelSmoothing, ...] | None = Field(default=None, min_length=1, max_length=16)
    """The shares of labels that may be spread over all classes. When left out, they are 0 and 0.1, and with Paper 0
    only."""
    mixups: tuple[Mixup, ...] | None = Field(default=None, min_length=1, max_length=16)
    """The strengths with which images may be mixed in pairs; 0 mixes none. When left out, they are 0 and 0.2, and with
    Paper 0 only."""
    mirrorings: tuple[bool, ...] | None = Field(default=None, min_length=1, max_length=16)
    """Whether images may be mirrored: write true for data without a left and a right, or both values to let the
    predictor choose. When left out, nothing is mirrored, as digits and letters must not be."""
    augmentations: tuple[Augmentation, ...] | None = Field(default=None, min_length=1, max_length=16)
    """What may be done to training images: Crop, RandAugment, TrivialAugment. When left out, each of them, and with
    Paper Crop only."""
    emas: tuple[bool, ...] | None = Field(default=None, min_length=1, max_length=16)
    """Whether weights may be averaged over a training. When left out, both are considered, and with Paper none are
    averaged."""
    linear_probe: bool | None = None
    """Whether a linear probe is a candidate, whatever the lists say of frozen stages and images: it computes each
    image's features once and trains the classifier on them, so it fits in a shorter time limit than anything else. When
    left out, it is, but not with Paper."""
    max_epochs: float = Field(default=200, gt=0, le=10_000)
    """The most epochs (passes over the training images) that may be chosen, however much time there is."""


class FineTuneRequestSpec(SpecPart):
    """Which data to fine-tune on, in which time, and from which zoo. All but suspend and limits is decided at
    creation."""

    RULES = (
        Rule(
            "self.device.type == 'cuda' || !has(self.podTemplate.resources)"
            " || !('nvidia.com/gpu' in self.podTemplate.resources.limits)",
            lambda spec: (
                spec.device.type == "cuda"
                or spec.pod_template.resources is None
                or "nvidia.com/gpu" not in spec.pod_template.resources.limits
            ),
            "asks for nvidia.com/gpu, but device.type is cpu: remove it, or set device.type to cuda",
            field_path=".podTemplate.resources.limits",
        ),
        Rule(
            "!has(self.batchSize) || !has(self.pins.batchSize) || self.batchSize == self.pins.batchSize",
            lambda spec: (
                spec.batch_size is None or spec.pins.batch_size is None or spec.batch_size == spec.pins.batch_size
            ),
            "is not what batchSize says: write one of both",
            field_path=".pins.batchSize",
        ),
    )

    dataset: DatasetSpec
    """The images that the model is fine-tuned on."""
    time_limit: Duration
    """Time for fine-tuning, such as 90s, 30m or 1h30m; it is never exceeded. It counts while a container of the
    fine-tuning Job runs, from the start of the process to the published model, over all attempts. Waiting in a queue,
    pulling images and the probe of the data do not count."""
    zoo: Name
    """Name of the zoo that the model is chosen from. A request waits for a zoo that is not there yet."""
    storage: StorageSpec = StorageSpec()
    """How the pods reach S3. When left out, they use the identity of their service account."""
    output_uri: OutputUri = Field(alias="outputURI")
    """Where checkpoints and the model go, s3://BUCKET/PREFIX. Each request writes below a folder that is named by its
    UID, so several may share one prefix."""
    device: DeviceSpec = DeviceSpec()
    """What the request's pods compute on. When left out, it is one CPU core."""
    strategy: Strategy = Field(
        default=next(iter(STRATEGIES)),
        description=(
            f"How the time limit is spent. {' '.join(strategy.summary for strategy in STRATEGIES.values())} A race for "
            "which there is no time is run as OneShot."
        ),
    )
    batch_size: BatchSize | None = None
    """Number of images in one training step. Lower it if the model does not fit in memory. A size that the zoo's
    step-time table lacks is measured first, within the probe's time. When left out, the predictor chooses one of
    grid.batchSizes."""
    pins: Pins = Pins()
    """What the schedule must have. When left out, the predictor chooses everything."""
    limits: RequestLimits = RequestLimits()
    """What the delivered model may need at most. May be edited until the schedule is chosen. When left out, any model
    will do."""
    grid: GridSpec = GridSpec()
    """The candidates among which the predictor chooses. Narrow it down if you know what suits your data."""
    seed: Seed = 0
    """Number from which the split of the images, the candidates that are drawn of a large grid, and all random choices
    of the training follow. Change it to repeat a request with another split."""
    suspend: bool = False
    """Whether to hold the request. With true the data is probed and a schedule is chosen, but nothing is trained; a
    training that runs is stopped, and goes on from its checkpoint once the field is false again. May be edited."""
    pod_template: PodTemplate = PodTemplate()
    """Resources, nodes, service account and queue of the pods. When left out, they suit the device."""

    @property
    def pinned_batch_size(self) -> int | None:
        """The batch size that must be, by whichever of both fields; ``None`` leaves it to the grid."""
        return self.pins.batch_size if self.batch_size is None else self.batch_size
