"""What a request ends with: weights, their description, figures, and a loader of three lines.

Delivered loaders import :func:`load_model` from here, so that it has to stay here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from nasoa_runtime.boundary import ModelReference, Preprocessing, Regime, digest
from nasoa_runtime.documents.base import dump_pretty, load
from nasoa_runtime.documents.deliverable import (
    CONFUSION,
    DESCRIPTION,
    LOADER,
    METRICS,
    WEIGHTS,
    Confusion,
    ModelDescription,
    ModelMetrics,
)
from nasoa_runtime.pods.dataset.images import decode, load_size
from nasoa_runtime.pods.failures import BadInputError
from nasoa_runtime.pods.networks.building import build_model
from nasoa_runtime.pods.networks.weights import load_weights
from nasoa_runtime.pods.training.batches import Normalise
from nasoa_runtime.pods.training.evaluation import Evaluation

LOADER_TEXT = """\
from nasoa_runtime.pods.deliverable import load_model
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
        UnreadableDocumentError: The description is not as it was delivered.
        BadInputError: The weights are not those that the description names.
    """
    directory = Path(path) if Path(path).is_dir() else Path(path).parent
    file = directory / DESCRIPTION
    description = load(ModelDescription, file.read_bytes(), str(file))
    content = (directory / WEIGHTS).read_bytes()
    if digest(content) != description.weights_digest:
        msg = f"{WEIGHTS}: not the file that {DESCRIPTION} describes; fetch both again."
        raise BadInputError(msg)
    classes, low_resolution_stem = description.classes, description.low_resolution_stem
    model = build_model(description.architecture, len(classes), low_resolution_stem=low_resolution_stem)
    load_weights(model, content)
    return Loaded(model.eval(), classes, description.preprocessing)


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
            METRICS: dump_pretty(self._metrics()),
            CONFUSION: dump_pretty(self._confusion()),
            LOADER: LOADER_TEXT.encode(),
            DESCRIPTION: dump_pretty(self._description()),
        }

    def publish(self, put: Callable[[str, bytes], None]) -> None:
        """Hand each file's name and content to ``put``."""
        for name, content in self.files().items():
            put(name, content)

    def _description(self) -> ModelDescription:
        return ModelDescription(
            request=self.request,
            architecture=self.model.architecture,
            low_resolution_stem=self.model.low_resolution_stem,
            classes=self.classes,
            preprocessing=self.model.preprocessing,
            zoo_model=self.model.name,
            learning_rate=self.regime.learning_rate,
            frozen_stages=self.regime.frozen_stages,
            regime=self.regime,
            options=self.regime.options or "plain",
            steps=self.steps,
            weights_digest=self.weights_digest,
        )

    def _metrics(self) -> ModelMetrics:
        per_class = self.test.class_accuracies if self.test is not None else [None] * len(self.classes)
        return ModelMetrics(
            validation_accuracy=self.validation_accuracy,
            test_accuracy=self.test.accuracy if self.test is not None else None,
            test_images=self.test.images if self.test is not None else 0,
            class_accuracy=dict(zip(self.classes, per_class, strict=True)),
        )

    def _confusion(self) -> Confusion:
        return Confusion(classes=self.classes, test=None if self.test is None else self.test.confusion.tolist())
