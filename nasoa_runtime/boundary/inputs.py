"""What pods get: one document for each program of :mod:`nasoa_runtime.boundary.programs`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from nasoa_runtime.boundary.base import Precision, Record, Seconds
from nasoa_runtime.boundary.parts import (
    DatasetReference,
    Device,
    Extractor,
    MeasuredModel,
    ModelReference,
    NamedArchitecture,
    Preprocessing,
    Reading,
    Recipe,
    SharedLimit,
    Store,
)
from nasoa_runtime.boundary.regime import MOST_REGIMES, Regime


class PodInput(Record):
    """What every input has."""

    store: Store = Store()
    device: Device = Device()
    result_uri: str
    """``s3://bucket/prefix`` under the tenant's prefix; index i writes ``<result_uri>/<i>.json`` create-only."""
    seed: int = 0

    @property
    def reading(self) -> Reading | None:
        """The dataset that the program reads, if it reads one."""
        return None

    @property
    def shared_limit(self) -> SharedLimit | None:
        """The time limit over all attempts, if there is one; other limits count from each attempt's checkpoint."""
        return None


class ProfileInput(PodInput):
    """Measure step times one after another, each in a subprocess with a time limit (SPEC 3).

    With ``frozen_stages`` more than one value, or several layouts and precisions, the pod fills a zoo's
    step-time table; otherwise it stops as soon as ``wanted`` architectures meet ``max_step_seconds``.
    """

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
    """For each architecture."""
    anchor: str | None = None
    """Encoding of the network by which drift between lists is corrected."""
    anchor_step_seconds: Seconds | None = None
    """What the anchor took in the phase's first list."""
    frozen_stages: tuple[int, ...] = (0,)
    other_batch_sizes: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Also measure a row with nothing frozen at each of these batch sizes."""
    with_factors: bool = False
    """Also measure by how much each option of a regime slows a step."""
    choose_layout: bool = False
    """Try layouts and precisions for each architecture and keep the fastest (zoo tables)."""
    prototypes_of: DatasetReference | None = None
    """Also compute class prototypes of this dataset (the zoo's source data) with ``extractor``."""
    extractor: Extractor | None = None
    prototypes_uri: str | None = None
    """``s3://`` URI, under the tenant's prefix, for the prototypes (npz); the operator publishes them."""

    @property
    def reading(self) -> Reading | None:
        """The source data, if prototypes are asked for."""
        if self.prototypes_of is None or self.extractor is None:
            return None
        return Reading(dataset=self.prototypes_of, preprocessing=self.extractor.preprocessing, with_test_folder=False)


class TrainingInput(PodInput):
    """Train architecture ``architectures[index]`` from scratch."""

    architectures: tuple[str, ...]
    dataset: DatasetReference
    recipe: Recipe
    time_limit_seconds: Seconds | None = None

    @property
    def reading(self) -> Reading:
        """The dataset without its test folder, which a search never sees."""
        return Reading(dataset=self.dataset, preprocessing=self.recipe.preprocessing, with_test_folder=False)


class EvaluateInput(TrainingInput):
    """Train shortly and report the validation accuracy."""


class PretrainInput(TrainingInput):
    """Train in full and write the weights under ``weights_uri``."""

    weights_uri: str
    """Index i writes ``<weights_uri>/<i>/weights.safetensors`` and ``<weights_uri>/<i>/checkpoint``."""


class ProbeInput(PodInput):
    """Statistics of a request's dataset and of the node, next to the data (SPEC 5)."""

    dataset: DatasetReference
    batch_size: int = Field(ge=1)
    time_cap_seconds: Seconds
    """Measuring (not start-up, listing or counting) stops here; the request's T_l / 10."""
    models: tuple[MeasuredModel, ...]
    extractor: Extractor | None = None
    sources: dict[str, str] = Field(default_factory=dict)
    """Source name -> ``s3://`` URI of its class prototypes (npz: ``prototypes`` (c, d), ``weights`` (c,))."""
    with_options: bool = False
    """Whether regimes may ask for more than plain steps: then it is also timed what augmentation needs to start."""
    zoo: str = ""
    """Name and version of the zoo, which a cached probe must have been made with."""
    cache_uri: str | None = None
    """``s3://`` URI, under the tenant's prefix, where probes of equal datasets, zoos and devices are kept."""

    @property
    def preprocessing(self) -> Preprocessing:
        """How images are loaded: as the extractor wants them, else as the most modest model does."""
        if self.extractor is not None:
            return self.extractor.preprocessing
        modest = min(self.models, key=lambda m: m.model.preprocessing.image_size, default=None)
        return Preprocessing(image_size=32) if modest is None else modest.model.preprocessing

    @property
    def reading(self) -> Reading:
        """The whole dataset: its test images are counted."""
        return Reading(dataset=self.dataset, preprocessing=self.preprocessing, with_test_folder=True)


class FinetuneInput(PodInput):
    """Run ``regimes`` under the time limit, as ``strategy`` does, and deliver the best model."""

    request: str
    """Namespace, name and UID, for the model's description."""
    dataset: DatasetReference
    time_limit_seconds: Seconds
    """T_l: seconds from process start to published result, over all attempts."""
    batch_size: int = Field(ge=1)
    """Of regimes that name none."""
    models: tuple[ModelReference, ...]
    strategy: str
    """Which of the regimes are run, and how; a name of :mod:`nasoa_runtime.pods.strategies`."""
    regimes: tuple[Regime, ...] = Field(min_length=1, max_length=MOST_REGIMES)
    """What the strategy has chosen to hand over, the best one first."""
    output_uri: str
    """Where the deliverable goes, ``s3://bucket/prefix``."""
    work_uri: str
    """Where checkpoints and the clock's heartbeats go."""
    heartbeat_seconds: Seconds = 2.0

    @model_validator(mode="after")
    def _regimes_name_models(self) -> FinetuneInput:
        names = {model.name for model in self.models}
        for regime in self.regimes:
            if regime.model not in names:
                msg = f"regimes: model {regime.model!r} is not among models"
                raise ValueError(msg)
        return self

    def model_of(self, regime: Regime) -> ModelReference:
        """The model that one of :attr:`regimes` names."""
        return next(model for model in self.models if model.name == regime.model)

    def batch_size_of(self, regime: Regime) -> int:
        """The batch size that one of :attr:`regimes` is run with."""
        return self.batch_size if regime.batch_size is None else regime.batch_size

    @property
    def reading(self) -> Reading:
        """The whole dataset, as the first regime's model wants it."""
        preprocessing = self.model_of(self.regimes[0]).preprocessing
        return Reading(dataset=self.dataset, preprocessing=preprocessing, with_test_folder=True)

    @property
    def shared_limit(self) -> SharedLimit:
        """T_l."""
        return SharedLimit(
            seconds=self.time_limit_seconds, work_uri=self.work_uri, heartbeat_seconds=self.heartbeat_seconds
        )
