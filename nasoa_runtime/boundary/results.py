"""What pods give back: one document for each program, and the message in which a pod's end names it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, model_validator

from nasoa_runtime.boundary.base import Accuracy, DeviceType, Finite, Precision, Record, Seconds, SecondsOrZero
from nasoa_runtime.boundary.inputs import Device, Preprocessing, Regime


class StepTime(Record):
    """One row of a step-time lookup table (SPEC 4)."""

    device: DeviceType
    product: str = Field(max_length=128)
    count: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    image_size: int = Field(ge=8)
    frozen_stages: int = Field(ge=0, le=5)
    channels_last: bool
    precision: Precision
    step_seconds: Seconds
    inference_seconds: Seconds | None = None
    """Forward pass of one batch in evaluation mode."""


Failure = Literal["OutOfMemory", "Diverged", "TimedOut", "Error", "InvalidResult", "Disrupted"]


class Measurement(Record):
    """A profiled candidate: its step time, or why there is none."""

    name: str = Field(max_length=256)
    step_seconds: Seconds | None = None
    failure: Failure | None = None
    message: str = Field(default="", max_length=300)
    rows: tuple[StepTime, ...] = ()
    """The table's rows, when one was asked for."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Measurement:
        if (self.step_seconds is None) == (self.failure is None):
            msg = "a measurement has either step_seconds or failure"
            raise ValueError(msg)
        return self


class ProfileResult(Record):
    """Measurements in the order of the candidates; those behind the last one needed are absent."""

    program: Literal["profile"] = "profile"
    device: Device
    measurements: tuple[Measurement, ...]
    anchor_step_seconds: Seconds | None = None
    drift: Finite = 1.0
    """Factor by which the figures were scaled (1 within 3 %)."""
    prototypes_digest: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    seconds: SecondsOrZero


class EvaluateResult(Record):
    """A short training's outcome."""

    program: Literal["evaluate"] = "evaluate"
    architecture: str = Field(max_length=256)
    accuracy: Accuracy
    step_seconds: Seconds
    """Median over the training, as seen in the worker (not the T_s of the search)."""
    loading_seconds: SecondsOrZero
    steps: int = Field(ge=1)
    seconds: SecondsOrZero


class PretrainResult(Record):
    """A full training's outcome; the operator checks the weights before it publishes them."""

    program: Literal["pretrain"] = "pretrain"
    architecture: str = Field(max_length=256)
    accuracy: Accuracy
    classes: tuple[Annotated[str, Field(max_length=128)], ...] = Field(min_length=2, max_length=100_000)
    preprocessing: Preprocessing
    weights_digest: str = Field(pattern="^[0-9a-f]{64}$")
    weights_bytes: int = Field(ge=1)
    step_seconds: Seconds
    steps: int = Field(ge=1)
    seconds: SecondsOrZero


class DatasetStatistics(Record):
    """What the predictor and the schedule know of a dataset."""

    digest: str = Field(pattern="^[0-9a-f]{64}$")
    classes: int = Field(ge=2)
    images: int = Field(ge=1)
    """Of the training split."""
    validation_images: int = Field(ge=1)
    test_images: int = Field(ge=0)
    images_per_class_mean: Seconds
    images_per_class_std: SecondsOrZero
    broken_images: int = Field(default=0, ge=0)
    broken_examples: tuple[Annotated[str, Field(max_length=512)], ...] = Field(default=(), max_length=5)
    domain_similarity: dict[str, Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]] = Field(default_factory=dict)
    """Source name -> exp(-0.01 EMD)."""


class ProbeResult(Record):
    """Statistics and the times really seen on the node."""

    program: Literal["probe"] = "probe"
    device: Device
    statistics: DatasetStatistics
    startup_seconds: SecondsOrZero
    """From process start to the first step possible: imports, data, weights."""
    loading_seconds_per_image: SecondsOrZero
    step_correction: Seconds
    """Measured step time over the table's; 1 when nothing could be compared."""
    rows: dict[str, tuple[StepTime, ...]] = Field(default_factory=dict)
    """Model name -> rows measured because the table lacked them."""
    infeasible: tuple[str, ...] = ()
    """Models that ran out of memory here."""
    seconds: SecondsOrZero


class Run(Record):
    """One regime as it was really run; every run of a request teaches the predictor."""

    regime: Regime
    steps: int = Field(ge=0)
    """Steps done."""
    validation_accuracy: Accuracy | None
    failure: Literal["Diverged", "OutOfMemory"] | None = None
    step_seconds: Seconds | None = None
    seconds: SecondsOrZero


class FinetuneResult(Record):
    """What a request ends with."""

    program: Literal["finetune"] = "finetune"
    runs: tuple[Run, ...] = Field(min_length=1, max_length=20)
    chosen: int = Field(ge=0)
    """Index in ``runs`` of the delivered one."""
    validation_accuracy: Accuracy
    test_accuracy: Accuracy | None
    seconds: SecondsOrZero
    """Of T_l, over all attempts."""
    attempts: int = Field(ge=1)
    steps: int = Field(ge=0)
    step_seconds: Seconds
    loading_seconds: SecondsOrZero
    output_uri: str = Field(max_length=2048)
    model_digest: str = Field(pattern="^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _chosen_exists(self) -> FinetuneResult:
        if self.chosen >= len(self.runs):
            msg = f"chosen: run {self.chosen} of {len(self.runs)} does not exist"
            raise ValueError(msg)
        return self


AnyResult = Annotated[
    ProfileResult | EvaluateResult | PretrainResult | ProbeResult | FinetuneResult,
    Field(discriminator="program"),
]
RESULTS: TypeAdapter[AnyResult] = TypeAdapter(AnyResult)


class TerminationMessage(Record):
    """What a pod leaves in its container status. Large results are in S3 alone, named by their digest here."""

    program: Literal["profile", "evaluate", "pretrain", "probe", "finetune"]
    index: int = Field(ge=0)
    result_key: str | None = Field(default=None, max_length=1100)
    """``s3://`` URI of the whole result; ``None`` for a failure."""
    result_digest: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    result: dict[str, Any] | None = None
    """The result itself where it fits in the message."""
    failure: Failure | Literal["BadInput"] | None = None
    message: str = Field(default="", max_length=1500)
    """For people: what went wrong and what to write instead."""
