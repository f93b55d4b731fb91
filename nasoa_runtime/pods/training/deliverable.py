"""What a request ends with: weights, their description, figures, and a loader of three lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nasoa_runtime.boundary import ModelReference, Preprocessing, Regime, digest
from nasoa_runtime.pods.dataset.images import decode, load_size
from nasoa_runtime.pods.failures import BadInputError
from nasoa_runtime.pods.training.batches import Normalise
from nasoa_runtime.pods.training.evaluation import Evaluation
from nasoa_runtime.pods.training.models import build_model, load_weights

FORMAT = 1
WEIGHTS, DESCRIPTION, METRICS, CONFUSION, LOADER = (
    "model.safetensors",
    "model.json",
    "metrics.json",
    "confusion.json",
    "load.py",
)
LOADER_TEXT = """\
from nasoa_runtime.pods.training.deliverable import load_model
loaded = load_model(__file__)
classify = loaded.classify  # classify("image.png") gives the class and its probability
"""


@dataclass(frozen=True)
class Loaded:
    """A delivered model, ready to use."""

    model: nn.Module
    classes: tuple[str, ...]
    preprocessing: Preprocessing

    def tensor(self, image: str | Path) -> Tensor:
        """An image file as the model's input, shape (1, 3, side, side)."""
        side = load_size(self.preprocessing.image_size)
        pixels = decode(Path(image).read_bytes(), side, self.preprocessing.interpolation)
        margin = (side - self.preprocessing.image_size) // 2
        inner = pixels[margin : side - margin, margin : side - margin].copy()
        return Normalise.of(self.preprocessing, torch.device("cpu"))(torch.from_numpy(inner)[None]).contiguous()

    def classify(self, image: str | Path) -> tuple[str, float]:
        """The most probable class of an image file, and its probability."""
        with torch.inference_mode():
            probability, label = self.model(self.tensor(image)).softmax(dim=1).max(dim=1)
        return self.classes[int(label)], float(probability)


def load_model(path: str | Path) -> Loaded:
    """Load a delivered model from its directory (or from any file in it), running none of its code.

    Raises:
        BadInputError: The weights are not those that the description names.
    """
    directory = Path(path) if Path(path).is_dir() else Path(path).parent
    description = json.loads((directory / DESCRIPTION).read_text())
    content = (directory / WEIGHTS).read_bytes()
    if digest(content) != description["weights_digest"]:
        msg = f"{WEIGHTS}: not the file that {DESCRIPTION} describes; fetch both again."
        raise BadInputError(msg)
    model = build_model(
        description["architecture"],
        len(description["classes"]),
        low_resolution_stem=description["low_resolution_stem"],
    )
    load_weights(model, content)
    preprocessing = Preprocessing.model_validate(description["preprocessing"])
    return Loaded(model.eval(), tuple(description["classes"]), preprocessing)


@dataclass(frozen=True)
class Delivery:
    """All that is delivered, before it is files."""

    request: str
    model: ModelReference
    regime: Regime
    steps: int
    classes: tuple[str, ...]
    weights: bytes
    validation_accuracy: float
    test: Evaluation | None

    @property
    def weights_digest(self) -> str:
        """SHA-256 of the weights file."""
        return digest(self.weights)

    def files(self) -> dict[str, bytes]:
        """Contents by file name; the description last, as it names the weights."""
        return {
            WEIGHTS: self.weights,
            METRICS: _json(self._metrics()),
            CONFUSION: _json(self._confusion()),
            LOADER: LOADER_TEXT.encode(),
            DESCRIPTION: _json(self._description()),
        }

    def publish(self, put: Callable[[str, bytes], None]) -> None:
        """Hand each file's name and content to ``put``."""
        for name, content in self.files().items():
            put(name, content)

    def _description(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "request": self.request,
            "architecture": self.model.architecture,
            "low_resolution_stem": self.model.low_resolution_stem,
            "classes": list(self.classes),
            "preprocessing": self.model.preprocessing.model_dump(mode="json"),
            "zoo_model": self.model.name,
            "learning_rate": self.regime.learning_rate,
            "frozen_stages": self.regime.frozen_stages,
            "steps": self.steps,
            "weights": WEIGHTS,
            "weights_digest": self.weights_digest,
        }

    def _metrics(self) -> dict[str, Any]:
        per_class = self.test.class_accuracies if self.test is not None else [None] * len(self.classes)
        return {
            "validation_accuracy": self.validation_accuracy,
            "test_accuracy": self.test.accuracy if self.test is not None else None,
            "test_images": self.test.images if self.test is not None else 0,
            "class_accuracy": dict(zip(self.classes, per_class, strict=True)),
        }

    def _confusion(self) -> dict[str, Any]:
        rows = self.test.confusion.tolist() if self.test is not None else None
        return {"classes": list(self.classes), "rows_are": "true classes", "test": rows}


def _json(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()
