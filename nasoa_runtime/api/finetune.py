"""The spec of a FineTuneRequest: which data, in which time, from which zoo.

Docstrings of classes and fields are what `kubectl explain` prints; see :mod:`nasoa_runtime.api.parts`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticKnownError

from nasoa_runtime.api.base import SpecPart
from nasoa_runtime.api.parts import DatasetSpec, DeviceSpec, PodTemplate, StorageSpec
from nasoa_runtime.api.rules import Rule
from nasoa_runtime.api.types import (
    BatchSize,
    Duration,
    FrozenStages,
    LearningRate,
    Name,
    OutputUri,
    Seed,
)
from nasoa_runtime.architecture.structure import FROZEN_STAGES
from nasoa_runtime.online.strategies import STRATEGIES


def _is_strategy(name: str) -> str:
    if name not in STRATEGIES:
        raise PydanticKnownError("literal_error", {"expected": " or ".join(repr(known) for known in STRATEGIES)})
    return name


Strategy = Annotated[str, AfterValidator(_is_strategy), Field(json_schema_extra={"enum": list(STRATEGIES)})]
ModelName = Annotated[str, Field(min_length=1, max_length=128)]


class Pins(SpecPart):
    """What the schedule must have; the predictor chooses the rest."""

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


class RequestLimits(SpecPart):
    """What the delivered model may need at most."""

    max_parameters: int | None = Field(default=None, ge=1, le=2**53)
    """The most parameters (weights) that the model may have, such as 5000000. When left out, any number will do."""
    max_inference_milliseconds: float | None = Field(default=None, gt=0, le=1e9)
    """The longest that the model may take for one image, in milliseconds, measured on the request's device at its batch
    size. When left out, any time will do."""


class GridSpec(SpecPart):
    """The candidates: every model of the zoo with every combination of these values that fits in the time limit."""

    learning_rates: tuple[LearningRate, ...] = Field(
        default=(0.001, 0.003, 0.01, 0.03, 0.1), min_length=1, max_length=16
    )
    """The peak learning rates that may be chosen."""
    frozen_stages: tuple[FrozenStages, ...] = Field(default=FROZEN_STAGES, min_length=1, max_length=len(FROZEN_STAGES))
    """The numbers of frozen stages that may be chosen: 0 trains the whole model, 5 the classifier only. The less is
    trained, the more steps fit in the same time."""
    step_fractions: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        default=(1.0, 0.5, 0.25, 0.125), min_length=1, max_length=8
    )
    """How long a training may be, as fractions of the most steps that fit in the time limit. Keep only 1 to use all of
    the time."""
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
    batch_size: BatchSize = 32
    """Number of images in one training step. Lower it if the model does not fit in memory. A size that the zoo's
    step-time table lacks is measured first, within the probe's time."""
    pins: Pins = Pins()
    """What the schedule must have. When left out, the predictor chooses everything."""
    limits: RequestLimits = RequestLimits()
    """What the delivered model may need at most. May be edited until the schedule is chosen. When left out, any model
    will do."""
    grid: GridSpec = GridSpec()
    """The candidates among which the predictor chooses. Narrow it down if you know what suits your data."""
    seed: Seed = 0
    """Number from which the split of the images and all random choices of the training follow. Change it to repeat a
    request with another split."""
    suspend: bool = False
    """Whether to hold the request. With true the data is probed and a schedule is chosen, but nothing is trained; a
    training that runs is stopped, and goes on from its checkpoint once the field is false again. May be edited."""
    pod_template: PodTemplate = PodTemplate()
    """Resources, nodes, service account and queue of the pods. When left out, they suit the device."""
