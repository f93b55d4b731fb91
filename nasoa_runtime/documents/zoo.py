"""What a zoo's manifest says. Pure: reading and writing it is left to :mod:`nasoa_runtime.storage.zoo`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from nasoa_runtime.boundary import (
    Accuracy,
    Extractor,
    Precision,
    Preprocessing,
    Record,
    StepFactors,
    StepTime,
)
from nasoa_runtime.documents.base import Document

IMPORT = "import"
"""Owner of a zoo that models are imported into."""
MOST_ROWS = 4096
"""Of one model's step-time table: rows come from pods, and must not make the manifest grow without end."""
MOST_PRODUCTS = 256
"""For which step factors are kept, likewise."""
NAME = "^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"


class ZooModel(Record):
    """One model of a zoo."""

    name: str = Field(pattern=NAME)
    architecture: str = Field(max_length=256)
    """Encoding, ``timm:NAME`` or ``torchvision:NAME``."""
    weights_uri: str
    weights_digest: str = Field(pattern="^[0-9a-f]{64}$")
    weights_bytes: int = Field(ge=1)
    classes: tuple[Annotated[str, Field(max_length=128)], ...] = ()
    """Names of the source data's classes in the order of the outputs; empty where they are not known."""
    class_count: int = Field(ge=2)
    """Outputs of the network as its weights are; as many as ``classes`` where those are given."""
    classes_digest: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """SHA-256 of the class names, one a line, where a list is known elsewhere but not repeated here."""
    source: str = Field(pattern=NAME)
    """Name of the source data."""
    preprocessing: Preprocessing
    low_resolution_stem: bool = False
    channels_last: bool = False
    """Memory layout and precision that were measured to be the fastest."""
    precision: Precision = "fp32"
    source_accuracy: Accuracy
    """Top-1 on the source data's validation split."""
    parameters: int = Field(ge=1)
    macs: int = Field(ge=1)
    """Multiply-accumulates of one image of the preprocessing's size."""
    step_times: tuple[StepTime, ...] = Field(default=(), max_length=MOST_ROWS)
    step_factors: tuple[StepFactors, ...] = Field(default=(), max_length=MOST_PRODUCTS)
    """How much options of a regime slow its steps, one for each device, product and count."""
    front_rank: int = Field(default=0, ge=0)
    """0 for a member of the Pareto front; more for one that filled the zoo up."""

    @model_validator(mode="before")
    @classmethod
    def _count_classes(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("classes"):
            values = {"class_count": len(values["classes"])} | values
        return values

    @model_validator(mode="after")
    def _classes_agree(self) -> ZooModel:
        if self.classes and len(self.classes) != self.class_count:
            msg = f"class_count: {self.class_count}, but classes has {len(self.classes)} names"
            raise ValueError(msg)
        return self


class ZooManifest(Document):
    """What a zoo consists of."""

    name: str = Field(pattern=NAME)
    owner: str = Field(min_length=1, max_length=64)
    """UID of the search that publishes to it, or :data:`IMPORT`."""
    version: int = Field(ge=1)
    """Counts the changes."""
    extractor: Extractor | None = None
    """Feature space of domain similarity, pinned by digest."""
    sources: dict[str, str] = Field(default_factory=dict)
    """Source name -> URI of its class prototypes in the extractor's space."""
    models: tuple[ZooModel, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> ZooManifest:
        names = [model.name for model in self.models]
        if len(set(names)) != len(names):
            msg = "models: two have the same name"
            raise ValueError(msg)
        return self

    def model(self, name: str) -> ZooModel | None:
        """The model of this name."""
        return next((model for model in self.models if model.name == name), None)


class RegisteredExtractor(Document):
    """A feature extractor that new zoos may be pinned to, under its name."""

    extractor: Extractor
