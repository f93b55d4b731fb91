"""The JSON files of a request's deliverable, which people read too: they are written indented."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nasoa_runtime.boundary import Accuracy, Digest, FrozenStages, Positive, Preprocessing, Regime
from nasoa_runtime.documents.base import Document

WEIGHTS, DESCRIPTION, METRICS, CONFUSION, LOADER = (
    "model.safetensors",
    "model.json",
    "metrics.json",
    "confusion.json",
    "load.py",
)
"""Names of the files."""


class ModelDescription(Document):
    """``model.json``: all that is needed to build the model again and to use it, and where it comes from."""

    request: str
    """Namespace, name and UID."""
    architecture: str
    """Encoding, ``timm:NAME`` or ``torchvision:NAME``."""
    low_resolution_stem: bool
    classes: tuple[str, ...] = Field(min_length=2)
    """In the order of the outputs."""
    preprocessing: Preprocessing
    zoo_model: str
    """The model of the zoo that was fine-tuned."""
    learning_rate: Positive
    frozen_stages: FrozenStages
    regime: Regime | None = None
    """All that was asked for; ``None`` in descriptions that say no more than the above."""
    options: str = ""
    """What of it differs from plain SGD on crops, in words."""
    steps: int = Field(ge=0)
    """After which the weights were the best."""
    weights: str = WEIGHTS
    """The file beside this one that has them."""
    weights_digest: Digest


class ModelMetrics(Document):
    """``metrics.json``: how good the model is."""

    validation_accuracy: Accuracy
    test_accuracy: Accuracy | None
    """``None`` where no time was left to read the test images, or there are none."""
    test_images: int = Field(ge=0)
    class_accuracy: dict[str, Accuracy | None]
    """Of the test images, by class."""


class Confusion(Document):
    """``confusion.json``: which class the test images of each class were taken for."""

    classes: tuple[str, ...]
    rows_are: Literal["true classes"] = "true classes"
    test: tuple[tuple[int, ...], ...] | None
    """Images, shape (classes, classes); ``None`` without a test."""
