"""What a FineTuneRequest says of itself: what the probe found, what was chosen and why, how far it is, its result."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, computed_field

from nasoa_runtime.api.base import StatusPart
from nasoa_runtime.api.conditions import Conditions, Message
from nasoa_runtime.api.types import Fraction, FrozenStages, Timestamp, percent

RequestPhase = Literal["Pending", "Probing", "Planned", "Training", "Learning", "Succeeded", "Failed"]


class ProbeFindings(StatusPart):
    """What the probe found out about the dataset and the node."""

    digest: str | None = Field(default=None, max_length=64)
    """SHA-256 of the dataset's content: equal data has an equal digest, whatever the files are called."""
    classes: int | None = Field(default=None, ge=0)
    """Number of classes, which are the class folders."""
    images: int | None = Field(default=None, ge=0)
    """Number of images in the training split."""
    validation_images: int | None = Field(default=None, ge=0)
    """Number of validation images: all choices are made by the accuracy on these."""
    test_images: int | None = Field(default=None, ge=0)
    """Number of test images, which are read once, at the end."""
    images_per_class_mean: float | None = Field(default=None, ge=0)
    """Mean number of training images in a class."""
    images_per_class_std: float | None = Field(default=None, ge=0)
    """Standard deviation of the number of training images in a class: 0 if all classes have the same number."""
    broken_images: int = Field(default=0, ge=0)
    """Number of files that can't be read as images, and are left out. More than 1 % of them fail the request."""
    broken_examples: tuple[Annotated[str, Field(max_length=512)], ...] = Field(default=(), max_length=5)
    """Some of the broken files, each with what is wrong with it."""
    domain_similarity: dict[Annotated[str, Field(max_length=63)], Fraction] = Field(default={}, max_length=64)
    """How similar the images are to each source of the zoo's models, from 0 (not at all) to 1 (the same)."""
    startup_seconds: float | None = Field(default=None, ge=0)
    """Time from the start of a process to its first training step, in seconds: libraries, data and weights."""
    loading_seconds_per_image: float | None = Field(default=None, ge=0)
    """Time for which training waits for one image on the node that was probed, in seconds."""
    step_correction: float | None = Field(default=None, gt=0)
    """Factor between the step times on this node and those of the zoo's table: 2 if steps take twice as long here."""


class Alternative(StatusPart):
    """A candidate that was ranked behind the chosen one."""

    model: str = Field(max_length=128)
    """Name of the zoo's model to fine-tune."""
    learning_rate: float = Field(gt=0)
    """Peak learning rate of the training."""
    frozen_stages: FrozenStages
    """How much of the model is not trained: 0 trains all of it, 5 the classifier only."""
    steps: int = Field(ge=1)
    """Number of training steps to do."""
    batch_size: int | None = Field(default=None, ge=1)
    """Number of images in one training step."""
    options: str | None = Field(default=None, max_length=256)
    """What differs from plain training, which is SGD with momentum on random crops, such as "AdamW, layer decay 0.7,
    EMA" or "linear probe"; nothing if it is plain. spec.grid tells what the words mean."""
    predicted_accuracy: Fraction
    """Validation accuracy that the predictor expects of all its steps, from 0 to 1. Candidates are ranked by it."""
    predicted_low: Fraction | None = None
    """Lower end of the 90 % interval around predictedAccuracy, from 0 to 1: nine of ten accuracies should lie within
    such intervals. They are as wide as it takes for that, by how often earlier outcomes of the zoo lay outside, and
    wider for runs like those whose predictions were far off. They are of runs that do all their steps."""
    predicted_high: Fraction | None = None
    """Upper end of the 90 % interval around predictedAccuracy, from 0 to 1."""


class ChosenSchedule(Alternative):
    """The candidate that is run, and those that it was chosen before."""

    planned_seconds: float | None = Field(default=None, ge=0)
    """How much of the time limit the schedule should take, in seconds."""
    candidates: int | None = Field(default=None, ge=0)
    """Number of candidates that fit in the time limit and were ranked."""
    runners_up: tuple[Alternative, ...] = Field(default=(), max_length=5)
    """The best candidates behind the chosen one, best first. In a race they start too, and so may others behind these;
    with the strategy OneShot one of them takes over if the chosen one diverges or runs out of memory."""

    @computed_field(json_schema_extra={"maxLength": 16})  # type: ignore[prop-decorator]
    @property
    def predicted(self) -> str | None:
        """The predicted accuracy in percent, such as 91.3%."""
        return percent(self.predicted_accuracy)


class RunProgress(StatusPart):
    """How far the training is, by the metrics of its pod."""

    step: int = Field(ge=0)
    """Number of training steps that are done."""
    steps: int = Field(ge=0)
    """Number of training steps that are planned; it falls if steps turn out slower than expected."""
    loss: float | None = None
    """Mean loss of the last training steps."""
    eta: Timestamp | None = None
    """When the training should be done, as far as can be told from its step time; not while candidates race, as one of
    them will train until the time limit."""
    rung: int | None = Field(default=None, ge=1)
    """Rung of the race: in the first one all candidates start, each later one goes to one of them. The steps are those
    of the candidate that is trained now."""
    running: int | None = Field(default=None, ge=1)
    """Number of candidates that may still win the race; 1 once it is decided."""


class RequestResult(StatusPart):
    """What the request ends with."""

    validation_accuracy: Fraction
    """Top-1 accuracy on the validation images, from 0 to 1. The predictor learns from this figure."""
    test_accuracy: Fraction | None = None
    """Top-1 accuracy on the test images, from 0 to 1. Nothing was chosen by it, so it is what to expect of the
    model."""
    seconds: float = Field(ge=0)
    """Time used of the time limit over all attempts, in seconds."""
    time_limit_seconds: float = Field(gt=0)
    """Time limit of the request, in seconds."""
    steps: int = Field(ge=0)
    """Number of training steps of the delivered model."""
    step_seconds: float = Field(gt=0)
    """Median time of a training step, in seconds."""
    delivered: Alternative | None = None
    """The candidate that the model is of: the best one of a race, or else the chosen one or whichever took over from
    it. The steps are those that were planned for it alone."""
    strategy: str | None = Field(default=None, max_length=64)
    """How the time limit was spent: what spec.strategy asks for, or OneShot where there was no time for a race."""
    runs: int | None = Field(default=None, ge=1)
    """Number of candidates that were trained, those included that stopped early or failed. The predictor learns from
    each of them."""
    attempts: int | None = Field(default=None, ge=1)
    """Number of pods that it took: more than 1 if some were preempted or failed."""
    output_uri: str = Field(alias="outputURI", max_length=2048)
    """Where the model is, s3://BUCKET/PREFIX: weights, description, metrics and a loader."""

    @computed_field(json_schema_extra={"maxLength": 16})  # type: ignore[prop-decorator]
    @property
    def accuracy(self) -> str | None:
        """The validation accuracy in percent, such as 91.3%."""
        return percent(self.validation_accuracy)

    @computed_field(json_schema_extra={"maxLength": 64})  # type: ignore[prop-decorator]
    @property
    def used(self) -> str:
        """Seconds used and seconds allowed, such as 48s/60s."""
        return f"{self.seconds:.0f}s/{self.time_limit_seconds:.0f}s"


class PredictorVersions(StatusPart):
    """Versions of the zoo's predictor; a version is the number of requests that it has learned from."""

    planned_with: int | None = Field(default=None, ge=0)
    """Version of the predictor that chose the schedule."""
    produced: int | None = Field(default=None, ge=0)
    """Version of the predictor that was the first to have learned from this request."""


class FineTuneRequestStatus(StatusPart):
    """What came of the request so far."""

    observed_generation: int = Field(default=0, ge=0)
    """Generation of the object (metadata.generation) that this status describes."""
    phase: RequestPhase = "Pending"
    """Where the request is: Pending until it is accepted; Probing the data and the node; Planned if suspend keeps the
    chosen schedule from running; Training; Learning, which teaches the predictor; then Succeeded or Failed."""
    conditions: Conditions = ()
    """Accepted, Planned, and at the end Complete or Failed. PodsRunnable, StorageReachable and DocumentsReadable appear
    once something has stood in the way, and are False while it does."""
    statistics: ProbeFindings | None = None
    """What the probe found out about the dataset and the node."""
    schedule: ChosenSchedule | None = None
    """The candidate that was chosen, and the runners-up, which show why it was this one."""
    progress: RunProgress | None = None
    """How far the training is; only while it runs."""
    result: RequestResult | None = None
    """Accuracy, time used and address of the model, once the request has succeeded."""
    predictor: PredictorVersions | None = None
    """Versions of the predictor that chose the schedule and that has learned from the outcome."""
    start_time: Timestamp | None = None
    """When the request was accepted for the first time."""
    completion_time: Timestamp | None = None
    """When the request succeeded or failed."""
    message: Message | None = None
    """What the request does or waits for, or why it failed."""

    @property
    def _shown(self) -> Alternative | None:
        """The candidate that is delivered; before that is known, the chosen one."""
        return self.schedule if self.result is None or self.result.delivered is None else self.result.delivered

    @computed_field(json_schema_extra={"maxLength": 128})  # type: ignore[prop-decorator]
    @property
    def model(self) -> str | None:
        """Name of the zoo's model that is delivered; before that is known, of the one that is predicted to be best."""
        return None if self._shown is None else self._shown.model

    @computed_field(json_schema_extra={"maxLength": 16})  # type: ignore[prop-decorator]
    @property
    def predicted(self) -> str | None:
        """The accuracy that was predicted for that candidate, in percent, such as 91.3%."""
        return None if self._shown is None else percent(self._shown.predicted_accuracy)
