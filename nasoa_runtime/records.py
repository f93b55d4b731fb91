"""What crosses the pod boundary: the one JSON document a pod gets, and the one it gives back.

Both directions are validated: inputs by the pod (a bad one ends it with :data:`EXIT_BAD_INPUT`), results by the
operator, which treats them as untrusted. A result exists twice: whole in S3 under ``result_key`` (written
create-only before the pod exits), and as a :class:`TerminationMessage` of at most 4 KiB that names its digest.

This module reaches no torch.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

INPUT_VARIABLE = "NASOA_INPUT"
"""Environment variable that holds the pod's input document."""
TERMINATION_MESSAGE_VARIABLE = "NASOA_TERMINATION_MESSAGE_PATH"
"""Environment variable that may name the termination message file; ``/dev/termination-log`` without it."""
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
"""Environment variable in which an Indexed Job tells a pod its index."""
METRICS_PORT = 9464
"""Port on which every pod serves its Prometheus metrics."""
TERMINATION_MESSAGE_LIMIT_BYTES = 4096
"""The kubelet keeps the last 4,096 bytes of a termination message."""

EXIT_BAD_INPUT = 64
"""The input can't be used (spec, dataset, zoo): trying again would fail again."""
EXIT_DIVERGED = 65
"""Training gave NaN or infinity: trying again would diverge again."""
EXIT_RETRY = 69
"""Something around the pod failed (S3, node): another attempt may succeed, and counts as one."""
EXIT_CHECKPOINTED = 75
"""Stopped by SIGTERM after writing a checkpoint: another attempt goes on from it, and does not count."""

Accuracy = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
SecondsOrZero = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Precision = Literal["fp32", "bf16", "fp16"]
DeviceType = Literal["cpu", "cuda"]


class Record(BaseModel):
    """Base of all documents: frozen, and closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    def to_json(self) -> bytes:
        """Canonical JSON: sorted keys, no spaces, so that equal documents have equal digests."""
        return canonical_json(self.model_dump(mode="json"))


def canonical_json(document: Any) -> bytes:
    """Encode ``document`` with sorted keys and no spaces; NaN and infinity are refused."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest(content: bytes) -> str:
    """SHA-256 of ``content`` as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


# --- What several inputs share -----------------------------------------------------------------------------------


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


class Recipe(Record):
    """How a network is trained: SGD with momentum, linear warm-up, then a cosine to zero."""

    epochs: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    image_size: int = Field(ge=8)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=5e-4, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    warmup_fraction: float = Field(default=0.1, ge=0, le=1)
    precision: Precision = "fp32"
    channels_last: bool = False
    compile: bool = False
    low_resolution_stem: bool = False


class PodInput(Record):
    """What every input has."""

    store: Store = Store()
    device: Device = Device()
    result_uri: str
    """``s3://bucket/prefix`` under the tenant's prefix; index i writes ``<result_uri>/<i>.json`` create-only."""
    seed: int = 0


class Candidate(Record):
    """An architecture to measure: an encoding, or a zoo model's architecture with a name of its own."""

    name: str
    architecture: str
    """Encoding, or ``timm:NAME`` / ``torchvision:NAME``."""


class ProfileInput(PodInput):
    """Measure step times one after another, each in a subprocess with a time limit (SPEC 3).

    With ``frozen_stages`` more than one value, or several layouts and precisions, the pod fills a zoo's
    step-time table; otherwise it stops as soon as ``wanted`` candidates meet ``max_step_seconds``.
    """

    program: Literal["profile"] = "profile"
    candidates: tuple[Candidate, ...]
    wanted: int | None = Field(default=None, ge=1)
    max_step_seconds: Seconds | None = None
    batch_size: int = Field(ge=1)
    image_size: int = Field(ge=8)
    classes: int = Field(ge=2)
    precision: Precision = "fp32"
    low_resolution_stem: bool = False
    steps: int = Field(default=20, ge=3)
    time_limit_seconds: Seconds = 120.0
    """For each candidate."""
    anchor: str | None = None
    """Encoding of the network by which drift between lists is corrected."""
    anchor_step_seconds: Seconds | None = None
    """What the anchor took in the phase's first list."""
    frozen_stages: tuple[int, ...] = (0,)
    choose_layout: bool = False
    """Try layouts and precisions for each candidate and keep the fastest (zoo tables)."""
    prototypes_of: DatasetReference | None = None
    """Also compute class prototypes of this dataset (the zoo's source data) with ``extractor``."""
    extractor: Extractor | None = None
    prototypes_uri: str | None = None
    """``s3://`` URI, under the tenant's prefix, for the prototypes (npz); the operator publishes them."""


class EvaluateInput(PodInput):
    """Train architecture ``architectures[index]`` shortly and report its validation accuracy."""

    program: Literal["evaluate"] = "evaluate"
    architectures: tuple[str, ...]
    dataset: DatasetReference
    recipe: Recipe
    time_limit_seconds: Seconds | None = None


class PretrainInput(PodInput):
    """Train architecture ``architectures[index]`` in full and write its weights under ``weights_uri``."""

    program: Literal["pretrain"] = "pretrain"
    architectures: tuple[str, ...]
    dataset: DatasetReference
    recipe: Recipe
    weights_uri: str
    """Index i writes ``<weights_uri>/<i>/weights.safetensors`` and ``<weights_uri>/<i>/checkpoint``."""
    time_limit_seconds: Seconds | None = None


class Preprocessing(Record):
    """How an image becomes a network's input."""

    image_size: int = Field(ge=8)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"


class Extractor(Record):
    """The fixed pretrained feature space of domain similarity, pinned by digest."""

    name: str
    architecture: str
    """``timm:NAME`` or an encoding."""
    weights_uri: str
    weights_digest: str = Field(pattern="^[0-9a-f]{64}$")
    preprocessing: Preprocessing


class ModelReference(Record):
    """A zoo model as a pod needs it: how to build it, where its weights are, how its images are prepared."""

    name: str
    architecture: str
    weights_uri: str
    weights_digest: str = Field(pattern="^[0-9a-f]{64}$")
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


class ProbeInput(PodInput):
    """Statistics of a request's dataset and of the node, next to the data (SPEC 5)."""

    program: Literal["probe"] = "probe"
    dataset: DatasetReference
    batch_size: int = Field(ge=1)
    time_cap_seconds: Seconds
    """Measuring (not start-up, listing or counting) stops here; the request's T_l / 10."""
    models: tuple[MeasuredModel, ...]
    extractor: Extractor | None = None
    sources: dict[str, str] = Field(default_factory=dict)
    """Source name -> ``s3://`` URI of its class prototypes (npz: ``prototypes`` (c, d), ``weights`` (c,))."""
    zoo: str = ""
    """Name and version of the zoo, which a cached probe must have been made with."""
    cache_uri: str | None = None
    """``s3://`` URI, under the tenant's prefix, where probes of equal datasets, zoos and devices are kept."""


class Regime(Record):
    """One candidate of a schedule: a model and how it is fine-tuned."""

    model: str
    learning_rate: float = Field(gt=0)
    frozen_stages: int = Field(ge=0, le=5)
    """0 trains all; 1 freezes the stem, k the stem and stages up to k - 1; 5 trains the head only."""
    steps: int = Field(ge=1)
    step_seconds: Seconds
    """Planned; the runtime re-plans from what it sees."""
    predicted_accuracy: Accuracy


class FinetuneInput(PodInput):
    """Run ``regimes[0]`` under the time limit; the others are taken up only after divergence or out of memory."""

    program: Literal["finetune"] = "finetune"
    request: str
    """Namespace, name and UID, for the model's description."""
    dataset: DatasetReference
    time_limit_seconds: Seconds
    """T_l: seconds from process start to published result, over all attempts."""
    batch_size: int = Field(ge=1)
    models: tuple[ModelReference, ...]
    regimes: tuple[Regime, ...] = Field(min_length=1)
    output_uri: str
    """Where the deliverable goes, ``s3://bucket/prefix``."""
    work_uri: str
    """Where checkpoints and the clock's heartbeats go."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=1e-4, ge=0)
    heartbeat_seconds: Seconds = 2.0

    @model_validator(mode="after")
    def _regimes_name_models(self) -> FinetuneInput:
        names = {model.name for model in self.models}
        for regime in self.regimes:
            if regime.model not in names:
                msg = f"regimes: model {regime.model!r} is not among models"
                raise ValueError(msg)
        return self


ProfileInput.model_rebuild()

AnyInput = Annotated[
    ProfileInput | EvaluateInput | PretrainInput | ProbeInput | FinetuneInput, Field(discriminator="program")
]
INPUTS: TypeAdapter[AnyInput] = TypeAdapter(AnyInput)


# --- Results -----------------------------------------------------------------------------------------------------


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
