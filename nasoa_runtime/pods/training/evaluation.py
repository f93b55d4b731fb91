"""Accuracy of a network on a set of images, in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nasoa_runtime.boundary import Precision
from nasoa_runtime.pods.failures import BadDatasetError
from nasoa_runtime.pods.networks.freezing import train_mode
from nasoa_runtime.pods.training.batches import Batch
from nasoa_runtime.pods.training.device import Target, out_of_memory_named


@dataclass(frozen=True)
class Evaluation:
    """A confusion matrix and what follows from it."""

    confusion: NDArray[np.int64]
    """Shape (classes, classes): rows are true classes, columns predicted ones."""
    seconds: float

    @property
    def images(self) -> int:
        """Images evaluated."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Share of images whose most probable class is the true one."""
        return float(np.trace(self.confusion) / self.images)

    @property
    def class_accuracies(self) -> list[float | None]:
        """The same for each class; ``None`` for one without images."""
        totals = self.confusion.sum(axis=1)
        return [
            float(right / total) if total else None
            for right, total in zip(np.diag(self.confusion), totals, strict=True)
        ]


def evaluate(
    model: nn.Module,
    batches: Iterator[Batch],
    classes: int,
    target: Target,
    precision: Precision = "fp32",
    *,
    channels_last: bool = False,
) -> Evaluation:
    """Classify all images of ``batches``; afterwards the model is in training mode again.

    Raises:
        BadDatasetError: There was no image that could be decoded.
    """
    layout = torch.channels_last if channels_last else torch.contiguous_format
    counts = torch.zeros(classes * classes, dtype=torch.int64, device=target.device)
    started = target.now()
    model.eval()
    try:
        with out_of_memory_named("Evaluation"), torch.inference_mode(), target.autocast(precision):
            for images, labels in batches:
                predicted = model(images.contiguous(memory_format=layout)).argmax(dim=1)
                known = labels >= 0
                counts += torch.bincount(labels[known] * classes + predicted[known], minlength=classes * classes)
    finally:
        train_mode(model)
    confusion = counts.cpu().numpy().reshape(classes, classes)
    if not confusion.any():
        msg = "no image is left to evaluate on."
        raise BadDatasetError(msg)
    return Evaluation(confusion, target.now() - started)
