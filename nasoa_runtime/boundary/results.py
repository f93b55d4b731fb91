"""What pods give back: one document for each program of :mod:`nasoa_runtime.boundary.programs`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from nasoa_runtime.boundary.base import Accuracy, Digest, Finite, Record, Seconds, SecondsOrZero
from nasoa_runtime.boundary.parts import Device, Preprocessing, StepFactors, StepTime
from nasoa_runtime.boundary.regime import MOST_REGIMES, Regime

Failure = Literal["OutOfMemory", "Diverged", "TimedOut", "Error", "InvalidResult", "Disrupted"]


class PodResult(Record):
    """What every result has."""

    seconds: SecondsOrZero
    """From process start to result; of a fine-tuning, seconds of T_l over all attempts."""


class Measurement(Record):
    """A profiled architecture: its step time, or why there is none."""

    name: str = Field(max_length=256)
    step_seconds: Seconds | None = None
    failure: Failure | None = None
    message: str = Field(default="", max_length=300)
    rows: tuple[StepTime, ...] = ()
    """The table's rows, when one was asked for."""
    factors: StepFactors | None = None
    """How much options slow its steps, when that was asked for."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Measurement:
        if (self.step_seconds is None) == (self.failure is None):
            msg = "a measurement has either step_seconds or failure"
            raise ValueError(msg)
        return self


class ProfileResult(PodResult):
    """Measurements in the order of the architectures; those behind the last one needed are absent."""

    device: Device
    measurements: tuple[Measurement, ...]
    anchor_step_seconds: Seconds | None = None
    drift: Finite = 1.0
    """Factor by which the figures were scaled (1 within 3 %)."""
    prototypes_digest: Digest | None = None


class EvaluateResult(PodResult):
    """What a short training came to."""

    architecture: str = Field(max_length=256)
    accuracy: Accuracy
    step_seconds: Seconds
    """Median over the training, as seen in the worker (not the T_s of the search)."""
    loading_seconds: SecondsOrZero
    steps: int = Field(ge=1)


class PretrainResult(PodResult):
    """What a full training came to; the operator checks the weights before it publishes them."""

    architecture: str = Field(max_length=256)
    accuracy: Accuracy
    classes: tuple[Annotated[str, Field(max_length=128)], ...] = Field(min_length=2, max_length=100_000)
    preprocessing: Preprocessing
    weights_digest: Digest
    weights_bytes: int = Field(ge=1)
    step_seconds: Seconds
    steps: int = Field(ge=1)


class DatasetStatistics(Record):
    """What the predictor and the schedule know of a dataset."""

    digest: Digest
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


class ProbeResult(PodResult):
    """Statistics and the times really seen on the node."""

    device: Device
    statistics: DatasetStatistics
    startup_seconds: SecondsOrZero
    """From process start to the first step possible: imports, data, weights."""
    loading_seconds_per_image: SecondsOrZero
    step_correction: Seconds
    """Measured step time over the table's; 1 when nothing could be compared."""
    rows: dict[str, tuple[StepTime, ...]] = Field(default_factory=dict)
    """Model name -> rows measured because the table lacked them."""
    factors: dict[str, StepFactors] = Field(default_factory=dict)
    """Model name -> how much options slow its steps, measured because the zoo did not know."""
    augmentation_startup_seconds: SecondsOrZero = 0.0
    """What RandAugment and TrivialAugment need to start, beside that; 0 where that was not asked for."""
    batch_size: int | None = Field(default=None, ge=1)
    """With which known rows were checked and missing ones measured."""
    infeasible: tuple[str, ...] = ()
    """Models that ran out of memory here."""


class CurvePoint(Record):
    """A validation in the course of a run."""

    steps: int = Field(ge=1)
    """Done by then."""
    accuracy: Accuracy
    """Of what would be delivered if the run ended here: the best so far."""
    annealed: bool
    """Whether the learning rate had come down to its end, as it has at the end of a run that was not stopped."""
    seconds: SecondsOrZero
    """That the run had taken by then."""


MOST_POINTS = 16
"""Of a run that are reported."""


class Run(Record):
    """One regime as it was really run; every run of a request teaches the predictor."""

    regime: Regime
    steps: int = Field(ge=0)
    """Steps done."""
    validation_accuracy: Accuracy | None
    failure: Literal["Diverged", "OutOfMemory"] | None = None
    step_seconds: Seconds | None = None
    seconds: SecondsOrZero
    points: tuple[CurvePoint, ...] = Field(default=(), max_length=MOST_POINTS)
    """Its learning curve in the order of steps, the last one at its end; empty where it was never validated."""

    @property
    def annealed(self) -> bool:
        """Whether the learning rate came down to its end."""
        return not self.points or self.points[-1].annealed


class FinetuneResult(PodResult):
    """What a request ends with."""

    runs: tuple[Run, ...] = Field(min_length=1, max_length=MOST_REGIMES)
    chosen: int = Field(ge=0)
    """Index in ``runs`` of the delivered one."""
    validation_accuracy: Accuracy
    test_accuracy: Accuracy | None
    attempts: int = Field(ge=1)
    steps: int = Field(ge=0)
    step_seconds: Seconds
    loading_seconds: SecondsOrZero
    output_uri: str = Field(max_length=2048)
    model_digest: Digest
    strategy: str = Field(default="", max_length=64)
    """What the pod did: the strategy that it was asked for, or ``OneShot`` where there was no time for a race."""

    @model_validator(mode="after")
    def _chosen_exists(self) -> FinetuneResult:
        if self.chosen >= len(self.runs):
            msg = f"chosen: run {self.chosen} of {len(self.runs)} does not exist"
            raise ValueError(msg)
        return self
