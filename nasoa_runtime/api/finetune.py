"""FineTuneRequest: which data, in which time, and what came of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, computed_field

from nasoa_runtime.api.base import SpecPart, StatusPart, rule, rules
from nasoa_runtime.api.conditions import Conditions, Message
from nasoa_runtime.api.types import (
    BatchSize,
    DatasetSpec,
    DeviceSpec,
    Duration,
    Fraction,
    LearningRate,
    Name,
    OutputUri,
    PodTemplate,
    Seed,
    StorageSpec,
    Timestamp,
    percent,
)

FrozenStages = Annotated[int, Field(ge=0, le=5)]
ModelName = Annotated[str, Field(min_length=1, max_length=128)]


class Pins(SpecPart):
    """What the schedule must have; the generator chooses the rest."""

    model: ModelName | None = None
    """A model of the zoo."""
    learning_rate: LearningRate | None = None
    """Peak learning rate."""
    frozen_stages: FrozenStages | None = None
    """0 trains all, 1 freezes the stem, k the stem and stages up to k - 1, 5 trains the classifier only."""
    steps: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """Training steps; the request fails if they don't fit in the time limit."""


class RequestLimits(SpecPart):
    """What the delivered model may need."""

    max_parameters: int | None = Field(default=None, ge=1, le=2**53)
    """Most parameters of the model."""
    max_inference_milliseconds: float | None = Field(default=None, gt=0, le=1e9)
    """Longest forward pass, per image, at the batch size of the zoo's step-time table."""


class GridSpec(SpecPart):
    """Candidates that the generator ranks for each model."""

    learning_rates: tuple[LearningRate, ...] = Field(
        default=(0.001, 0.003, 0.01, 0.03, 0.1), min_length=1, max_length=16
    )
    """Peak learning rates."""
    frozen_stages: tuple[FrozenStages, ...] = Field(default=(0, 1, 2, 3, 4, 5), min_length=1, max_length=6)
    """Numbers of frozen stages."""
    step_fractions: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        default=(1.0, 0.5, 0.25, 0.125), min_length=1, max_length=8
    )
    """Shares of the most steps that the time limit allows."""
    max_epochs: float = Field(default=200, gt=0, le=10_000)
    """Most epochs, however much time there is."""


class FineTuneRequestSpec(SpecPart):
    """Which data is fine-tuned on, in which time, from which zoo."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.device.type == 'cuda' || !has(self.podTemplate.resources)"
                " || !('nvidia.com/gpu' in self.podTemplate.resources.limits)",
                "asks for nvidia.com/gpu, but device.type is cpu: remove it, or set device.type to cuda",
                field_path=".podTemplate.resources.limits",
            )
        )
    )

    dataset: DatasetSpec
    """Images that the model is fine-tuned on."""
    time_limit: Duration
    """Time from process start to published model, over all attempts. It is never exceeded."""
    zoo: Name
    """Zoo that the model is chosen from."""
    storage: StorageSpec = StorageSpec()
    """How pods reach S3."""
    output_uri: OutputUri = Field(alias="outputURI")
    """`s3://BUCKET/PREFIX` under which checkpoints and the model are written."""
    device: DeviceSpec = DeviceSpec()
    """What the fine-tuning pod computes on."""
    strategy: Literal["OneShot"] = "OneShot"
    """`OneShot` runs the best candidate, once."""
    batch_size: BatchSize = 32
    """Images of one training step."""
    pins: Pins = Pins()
    """What the schedule must have."""
    limits: RequestLimits = RequestLimits()
    """What the delivered model may need. May be edited until the schedule is decided."""
    grid: GridSpec = GridSpec()
    """Candidates that the generator ranks."""
    seed: Seed = 0
    """Of the split and of the training."""
    suspend: bool = False
    """Probe and plan, but run nothing; or stop what runs. May be edited."""
    pod_template: PodTemplate = PodTemplate()
    """What the pods have beside what the operator decides."""


# --- Status ------------------------------------------------------------------------------------------------------

RequestPhase = Literal["Pending", "Probing", "Planned", "Training", "Learning", "Succeeded", "Failed"]


class Statistics(StatusPart):
    """What the probe found about the dataset and the node."""

    digest: str | None = Field(default=None, max_length=64)
    """Of the dataset's content."""
    classes: int | None = Field(default=None, ge=0)
    """Class folders."""
    images: int | None = Field(default=None, ge=0)
    """Images of the training split."""
    validation_images: int | None = Field(default=None, ge=0)
    """Images that choices are made by."""
    test_images: int | None = Field(default=None, ge=0)
    """Images read once, at the end."""
    images_per_class_mean: float | None = Field(default=None, ge=0)
    """Mean over the classes."""
    images_per_class_std: float | None = Field(default=None, ge=0)
    """Standard deviation over the classes."""
    broken_images: int = Field(default=0, ge=0)
    """Images that can't be read and are left out."""
    broken_examples: tuple[Annotated[str, Field(max_length=512)], ...] = Field(default=(), max_length=5)
    """Some of them."""
    domain_similarity: dict[Annotated[str, Field(max_length=63)], Fraction] = Field(default={}, max_length=64)
    """Similarity to each source of the zoo, 1 for the same."""
    startup_seconds: float | None = Field(default=None, ge=0)
    """From process start to the first possible step."""
    loading_seconds_per_image: float | None = Field(default=None, ge=0)
    """On the node that was probed."""
    step_correction: float | None = Field(default=None, gt=0)
    """Measured step time over the table's."""


class Alternative(StatusPart):
    """A candidate that was ranked behind the chosen one."""

    model: str = Field(max_length=128)
    """Model of the zoo."""
    learning_rate: float = Field(gt=0)
    """Peak learning rate."""
    frozen_stages: FrozenStages
    """Frozen stages."""
    steps: int = Field(ge=1)
    """Training steps."""
    predicted_accuracy: Fraction
    """What the predictor expects."""


class Schedule(Alternative):
    """The chosen candidate, and what it was chosen before."""

    planned_seconds: float | None = Field(default=None, ge=0)
    """Of the time limit, as planned."""
    candidates: int | None = Field(default=None, ge=0)
    """Candidates that were ranked."""
    runners_up: tuple[Alternative, ...] = Field(default=(), max_length=5)
    """The best ones behind it."""

    @computed_field(json_schema_extra={"maxLength": 16})  # type: ignore[prop-decorator]
    @property
    def predicted(self) -> str | None:
        """Predicted accuracy in percent."""
        return percent(self.predicted_accuracy)


class RunProgress(StatusPart):
    """Where the run is, from the pod's metrics."""

    step: int = Field(ge=0)
    """Steps done."""
    steps: int = Field(ge=0)
    """Steps planned now."""
    loss: float | None = None
    """Of the last steps."""
    eta: Timestamp | None = None
    """When the run should be done."""


class RequestResult(StatusPart):
    """What the request ends with."""

    validation_accuracy: Fraction
    """Top-1 on the validation split."""
    test_accuracy: Fraction | None = None
    """Top-1 on the test images, read once."""
    seconds: float = Field(ge=0)
    """Used of the time limit, over all attempts."""
    time_limit_seconds: float = Field(gt=0)
    """The time limit."""
    steps: int = Field(ge=0)
    """Training steps done."""
    step_seconds: float = Field(gt=0)
    """Median step time."""
    attempts: int | None = Field(default=None, ge=1)
    """Pods that it took."""
    output_uri: str = Field(alias="outputURI", max_length=2048)
    """Where the model is."""

    @computed_field(json_schema_extra={"maxLength": 16})  # type: ignore[prop-decorator]
    @property
    def accuracy(self) -> str | None:
        """Validation accuracy in percent."""
        return percent(self.validation_accuracy)

    @computed_field(json_schema_extra={"maxLength": 64})  # type: ignore[prop-decorator]
    @property
    def used(self) -> str:
        """Seconds used of the time limit, such as `48s/60s`."""
        return f"{self.seconds:.0f}s/{self.time_limit_seconds:.0f}s"


class PredictorVersions(StatusPart):
    """Versions (outcomes learned) of the predictor's state."""

    planned_with: int | None = Field(default=None, ge=0)
    """Version that chose the schedule."""
    produced: int | None = Field(default=None, ge=0)
    """Version that has learned from this request."""


class FineTuneRequestStatus(StatusPart):
    """What came of the request so far."""

    observed_generation: int = Field(default=0, ge=0)
    """Generation of the object that this status describes."""
    phase: RequestPhase = "Pending"
    """Where the request is."""
    conditions: Conditions = ()
    """Accepted, Planned, Complete, Failed; PodsRunnable and StorageReachable once something stood in the way."""
    statistics: Statistics | None = None
    """What the probe found."""
    schedule: Schedule | None = None
    """What was chosen, and why this one."""
    progress: RunProgress | None = None
    """Where the run is."""
    result: RequestResult | None = None
    """What the request ended with."""
    predictor: PredictorVersions | None = None
    """Versions of the predictor."""
    start_time: Timestamp | None = None
    """When the request was accepted."""
    completion_time: Timestamp | None = None
    """When it succeeded or failed."""
    message: Message | None = None
    """What the request does or waits for, for people."""
