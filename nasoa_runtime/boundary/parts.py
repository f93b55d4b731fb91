"""Parts that several inputs and results have."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nasoa_runtime.boundary.base import (
    DeviceType,
    Digest,
    FrozenStages,
    Positive,
    Precision,
    Record,
    Seconds,
)

LEAST_FACTOR, MOST_FACTOR = 1.0, 5.0
StepFactor = Annotated[float, Field(ge=LEAST_FACTOR, le=MOST_FACTOR)]
"""What lies outside is noise, or a fault."""


class Store(Record):
    """Where S3 is, as pods reach it. Credentials come from the environment, never from this document."""

    endpoint: str | None = None
    region: str = "us-east-1"


class Device(Record):
    """What a pod runs on: ``count`` GPUs, or ``count`` CPU cores."""

    type: DeviceType = "cpu"
    count: int = Field(default=1, ge=1)
    product: str | None = None
    """GPU product or processor name; ``None`` in an input means any."""


class DatasetReference(Record):
    """Class folders of images: ``s3://bucket/prefix``, or a directory of the pod (a mounted claim)."""

    uri: str
    seed: int = 0
    """Seed of the stratified split by content digest."""
    max_images: int | None = Field(default=None, ge=1)
    """Keep at most this many images of the training folder, stratified; ``None`` keeps all."""


class Preprocessing(Record):
    """How an image becomes a network's input."""

    image_size: int = Field(ge=8)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"


class Reading(Record):
    """What a program reads of a dataset, and how; known from the input alone, so that it is read while torch loads."""

    dataset: DatasetReference
    preprocessing: Preprocessing
    with_test_folder: bool


class SharedLimit(Record):
    """A time limit that all attempts of a pod share; they tell each other the time by heartbeats below ``work_uri``."""

    seconds: Seconds
    work_uri: str
    heartbeat_seconds: Seconds


class Recipe(Record):
    """How a network is trained: SGD with momentum, linear warm-up, then a cosine to zero."""

    epochs: Positive
    batch_size: int = Field(ge=1)
    image_size: int = Field(ge=8)
    learning_rate: Positive
    weight_decay: float = Field(default=5e-4, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    warmup_fraction: float = Field(default=0.1, ge=0, le=1)
    precision: Precision = "fp32"
    channels_last: bool = False
    compile: bool = False
    low_resolution_stem: bool = False

    @property
    def preprocessing(self) -> Preprocessing:
        """How images are prepared for a network trained with this recipe."""
        return Preprocessing(image_size=self.image_size)


class NamedArchitecture(Record):
    """An architecture to measure: an encoding, or a zoo model's architecture with a name of its own."""

    name: str
    architecture: str
    """Encoding, or ``timm:NAME`` / ``torchvision:NAME``."""


class Extractor(Record):
    """The fixed pretrained feature space of domain similarity, pinned by digest."""

    name: str
    architecture: str
    """``timm:NAME`` or an encoding."""
    weights_uri: str
    weights_digest: Digest
    preprocessing: Preprocessing


class ModelReference(Record):
    """A zoo model as a pod needs it: how to build it, where its weights are, how its images are prepared."""

    name: str
    architecture: str
    weights_uri: str
    weights_digest: Digest
    source_classes: int = Field(ge=2)
    preprocessing: Preprocessing
    low_resolution_stem: bool = False
    channels_last: bool = False
    precision: Precision = "fp32"


class MeasuredModel(Record):
    """A zoo model whose step-time rows the probe checks or measures."""

    model: ModelReference
    frozen_stages_missing: tuple[int, ...] = ()
    """Rows the table lacks for this device, batch and image size: measured now."""
    frozen_stages_known: dict[int, Seconds] = Field(default_factory=dict)
    """Rows the table has: the probe times one of them again to correct the others."""
    other_batch_size_missing: int | None = None
    """A second batch size of which the table lacks the row with nothing frozen; measured where time is left."""
    factors_missing: bool = False
    """Whether nothing is known of how much options slow its steps; measured where time is left."""


class StepTime(Record):
    """One row of a step-time lookup table (SPEC 4)."""

    device: DeviceType
    product: str = Field(max_length=128)
    count: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    image_size: int = Field(ge=8)
    frozen_stages: FrozenStages
    channels_last: bool
    precision: Precision
    step_seconds: Seconds
    inference_seconds: Seconds | None = None
    """Forward pass of one batch in evaluation mode."""


class StepFactors(Record):
    """By how much options of a regime slow a network's steps on a device, each alone, with nothing frozen."""

    device: DeviceType
    product: str = Field(max_length=128)
    count: int = Field(ge=1)
    factors: dict[Annotated[str, Field(max_length=32)], StepFactor] = Field(max_length=32)
    """Option -> seconds of a step with it over those of a plain one (SGD on crops)."""
