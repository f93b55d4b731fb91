"""Domain similarity: the earth mover's distance between class prototypes in a fixed pretrained feature space (SPEC 5).

After Cui et al., "Large Scale Fine-Grained Categorization and Domain-Specific Transfer Learning" (2018), section 4:
classes are points, weighted by their share of the images, and similarity is exp(-gamma d) with gamma = 0.01.
"""

from __future__ import annotations

import io
import math
import os
import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nasoa_runtime.boundary import Extractor
from nasoa_runtime.pods.dataset.reading import Dataset
from nasoa_runtime.pods.failures import BadDatasetError
from nasoa_runtime.pods.networks.building import build_model, head_of
from nasoa_runtime.pods.networks.weights import fetch_weights, load_weights
from nasoa_runtime.pods.training.batches import Loader
from nasoa_runtime.pods.training.device import Target
from nasoa_runtime.storage.s3 import ObjectStore

GAMMA = 0.01
IMAGES_PER_CLASS = 20
"""Enough for a mean; the distance moves by less than its noise beyond."""
MOST_IMAGES = 2000
BATCH = 32


@dataclass(frozen=True)
class Prototypes:
    """Mean features of each class, and its share of the images."""

    prototypes: NDArray[np.float32]
    """Shape (classes, features)."""
    weights: NDArray[np.float64]
    """Shape (classes,), sums to 1."""

    def to_bytes(self) -> bytes:
        """Encode as npz."""
        buffer = io.BytesIO()
        np.savez(buffer, prototypes=self.prototypes, weights=self.weights)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, body: bytes) -> Prototypes:
        """Decode, without pickle.

        Raises:
            ValueError: The body does not hold prototypes.
        """
        try:
            with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
                found = cls(arrays["prototypes"].astype(np.float32), arrays["weights"].astype(np.float64))
        except (OSError, EOFError, KeyError, ValueError) as error:
            msg = f"not prototypes: {error}"
            raise ValueError(msg) from error
        if found.prototypes.ndim != 2 or found.weights.shape != found.prototypes.shape[:1]:
            msg = "not prototypes: one weight for each row is needed"
            raise ValueError(msg)
        return found


def similarity(one: Prototypes, other: Prototypes) -> float:
    """exp(-0.01 EMD) of two domains, 0 to 1; the cost is the Euclidean distance of features."""
    # POT would import every array library there is.
    for library in ("PYTORCH", "JAX", "CUPY", "TENSORFLOW"):
        os.environ.setdefault(f"POT_BACKEND_DISABLE_{library}", "1")
    import ot  # noqa: PLC0415 - only probes need it

    a, b = one.prototypes.astype(np.float64), other.prototypes.astype(np.float64)
    if a.shape[1] != b.shape[1]:
        msg = f"prototypes have {b.shape[1]} features, the extractor gives {a.shape[1]}: they are of another extractor"
        raise ValueError(msg)
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2 * a @ b.T
    cost = np.sqrt(np.maximum(squared, 0))
    distance = float(ot.emd2(one.weights / one.weights.sum(), other.weights / other.weights.sum(), cost))
    return math.exp(-GAMMA * max(distance, 0.0))


def build_extractor(extractor: Extractor, store: ObjectStore, target: Target) -> nn.Module:
    """The extractor without its classifier, so that it gives pooled features."""
    content = fetch_weights(store, extractor.weights_uri, extractor.weights_digest)
    # Whatever classifier the weights have is dropped, so its size does not matter.
    model = build_model(extractor.architecture, 2)
    load_weights(model, content)
    name, _ = head_of(model)
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, nn.Identity())
    return model.to(target.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]


def class_prototypes(
    dataset: Dataset,
    extractor: Extractor,
    store: ObjectStore,
    target: Target,
    *,
    seconds: float = math.inf,
) -> Prototypes:
    """Mean features of up to 20 training images of each class.

    Args:
        dataset: Loaded with the extractor's preprocessing.
        extractor: The feature space.
        store: Reads the zoo.
        target: Where to compute.
        seconds: Stop adding images after this long; classes not yet seen are left out.
    """
    deadline = time.monotonic() + seconds
    model = build_extractor(extractor, store, target)
    indices = _interleaved(dataset)
    loader = Loader(dataset, extractor.preprocessing, BATCH, 0, target)
    classes = len(dataset.classes)
    sums: torch.Tensor | None = None
    counts = torch.zeros(classes, device=target.device)
    with torch.inference_mode():
        for images, labels in loader.evaluation(indices, BATCH):
            features = model(images).flatten(1).float()
            sums = torch.zeros(classes, features.shape[1], device=target.device) if sums is None else sums
            known = labels >= 0
            sums.index_add_(0, labels[known], features[known])
            counts += torch.bincount(labels[known], minlength=classes)
            if time.monotonic() > deadline:
                break
    if sums is None or not counts.any():
        msg = "no image is left to compare with the zoo's source."
        raise BadDatasetError(msg)
    seen = counts.cpu().numpy() > 0
    means = (sums / counts.clamp(min=1)[:, None]).cpu().numpy()
    shares = dataset.images_per_class.astype(np.float64)
    return Prototypes(means[seen].astype(np.float32), shares[seen] / shares[seen].sum())


def _interleaved(dataset: Dataset) -> NDArray[np.int64]:
    """The first training image of every class, then the second of every class, and so on: a cut is fair to all."""
    train = dataset.splits.train
    labels = dataset.labels[train]
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], labels[order], side="left")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order)) - starts
    chosen = np.lexsort((labels, rank))
    return train[chosen[rank[chosen] < IMAGES_PER_CLASS]][:MOST_IMAGES]
