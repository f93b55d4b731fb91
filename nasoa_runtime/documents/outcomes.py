"""What is recorded of runs for the predictor to learn from, and that it has learned a request's."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from nasoa_runtime.boundary import MOST_POINTS, Accuracy, CurvePoint, Finite, Record
from nasoa_runtime.documents.base import Document
from nasoa_runtime.documents.zoo import NAME


class ModelFacts(Record):
    """What the predictor is told of a zoo's model, for one dataset. Schedules keep it: zoos change."""

    name: str = Field(pattern=NAME)
    source: str = Field(pattern=NAME)
    """Name of the source data."""
    source_accuracy: Accuracy | None = None
    """Top-1 on the source data's validation split."""
    parameters: int | None = Field(default=None, ge=1)
    macs: int | None = Field(default=None, ge=1)
    """Multiply-accumulates of one image."""
    known_as: str | None = Field(default=None, max_length=256)
    """Its public name: timm's or torchvision's, or its encoding."""
    family: str | None = Field(default=None, max_length=64)
    image_size: int | None = Field(default=None, ge=1)
    reduced_precision: bool = False
    domain_similarity: Accuracy | None = None
    """How similar the dataset is to the model's source data: exp(-0.01 EMD)."""


class RunDescription(Record):
    """A run as the predictor sees it: its model, and a value for every feature of the predictor's table.

    Which names there must be, and which values may be null, the table says
    (:data:`~nasoa_runtime.online.features.RUN_FEATURES`): whoever reads a description reads it by a table.
    """

    model: str
    values: dict[str, Finite | None]
    """Numbers by the features' names, before their transforms."""
    words: dict[str, str | None] = Field(default_factory=dict)
    """Categories by the features' names."""


class Outcome(Record):
    """A run that was done, and what it reached."""

    description: RunDescription
    accuracy: Accuracy
    """On the validation split; that of chance if the run diverged."""
    points: tuple[CurvePoint, ...] = Field(default=(), max_length=MOST_POINTS)
    """How it got there, in the order of steps; may be empty."""
    failure: Literal["Diverged"] | None = None


class OutcomeRecord(Document):
    """All that the runs of one request showed. It is written once, and what is there counts."""

    uid: str
    """The request's UID."""
    request: str
    """Its namespace and name, ``namespace/name``."""
    zoo: str
    dataset: str = Field(default="", max_length=64)
    """Digest of the dataset's content."""
    recorded_at: AwareDatetime
    runs: tuple[Outcome, ...] = ()
    """In the order in which they were run; empty where none showed an accuracy."""


class AppliedMarker(Document):
    """A request's outcomes have been learned."""

    uid: str
    version: int = Field(ge=0)
    """The predictor's version after it had learned them."""
