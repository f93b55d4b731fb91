"""What pods get: one document for each program, and the parts that several of them have."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, model_validator

from nasoa_runtime.boundary.base import Accuracy, DeviceType, Precision, Record, Seconds


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


class NamedArchitecture(Record):
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
    architectures: tuple[NamedArchitecture, ...]
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
