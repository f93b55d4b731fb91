"""Train small networks and fine-tune them, by the runtime's own loop: what the recorded runs are recorded with."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from demo.datasets import Named
from nasoa_runtime.architecture.complexity import Complexity, complexity
from nasoa_runtime.boundary import Regime
from nasoa_runtime.pods.failures import DivergedError
from nasoa_runtime.pods.networks.building import build_model, head_of
from nasoa_runtime.pods.networks.freezing import freeze
from nasoa_runtime.pods.networks.weights import load_weights, weights_bytes
from nasoa_runtime.pods.training.augmentation import mixed, seed_of
from nasoa_runtime.pods.training.device import Target
from nasoa_runtime.pods.training.loop import Hyperparameters, Trainer

SIZE = 32
BATCH = 32
LARGEST_SHIFT = 3
"""Pixels by which a batch is moved, in each direction."""


@dataclass(frozen=True)
class Images:
    """A dataset in memory."""

    pixels: Tensor
    """Shape (n, 3, 32, 32)."""
    labels: Tensor
    """Indices of classes, shape (n,)."""

    @classmethod
    def of(cls, named: Iterable[Named]) -> Images:
        """Decode images in class folders, on white where they are transparent."""
        pixels, labels = [], []
        names: dict[str, int] = {}
        for path, content in named:
            image = Image.open(io.BytesIO(content)).convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image).convert("RGB")
            pixels.append(np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR)))
            labels.append(names.setdefault(path.split("/")[-2], len(names)))
        stacked = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
        return cls(stacked.float().div(255).sub(0.5).div(0.25), torch.tensor(labels))

    def __getitem__(self, indices: Tensor) -> Images:
        return Images(self.pixels[indices], self.labels[indices])

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> int:
        """How many there are."""
        return int(self.labels.max()) + 1

    @property
    def counts(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Images of each class."""
        return np.bincount(self.labels.numpy())

    def split(self, share: float, seed: int) -> tuple[Images, Images]:
        """A random ``share`` of the images, and the rest."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        first = round(share * len(self))
        return self[order[:first]], self[order[first:]]

    def batches(self, size: int, seed: int, shift: int = LARGEST_SHIFT) -> Iterator[tuple[Tensor, Tensor]]:
        """Endless batches in random order, each moved by at most ``shift`` pixels; 0 for what is no image."""
        generator = torch.Generator().manual_seed(seed)
        size = min(size, len(self))
        while True:
            order = torch.randperm(len(self), generator=generator)
            for start in range(0, len(self) - size + 1, size):
                chosen = order[start : start + size]
                if not shift:
                    yield self.pixels[chosen], self.labels[chosen]
                    continue
                down, right = torch.randint(-shift, shift + 1, (2,), generator=generator).tolist()
                yield torch.roll(self.pixels[chosen], (down, right), (2, 3)), self.labels[chosen]


@dataclass(frozen=True)
class Pretrained:
    """A network and what its source gave it."""

    architecture: str
    low_resolution_stem: bool
    size: Complexity
    source_accuracy: float
    weights: bytes
    """Safetensors."""


def pretrain(architecture: str, source: Images, held: Images, steps: int, low_resolution_stem: bool) -> Pretrained:
    """Train a network on ``source``; its accuracy is of ``held``."""
    torch.manual_seed(0)
    model = build_model(architecture, source.classes, low_resolution_stem=low_resolution_stem)
    _train(model, source, 0.1, 2 * BATCH, steps, seed=0)
    size = complexity(architecture, SIZE, source.classes, low_resolution_stem=low_resolution_stem)
    return Pretrained(architecture, low_resolution_stem, size, accuracy(model, held), weights_bytes(model))


def fine_tune(
    network: Pretrained, seen: Images, unseen: Images, learning_rate: float, frozen_stages: int, steps: int, seed: int
) -> float:
    """The accuracy on ``unseen`` after a request's training on ``seen``; chance where it diverges."""
    torch.manual_seed(seed)
    model = build_model(network.architecture, seen.classes, low_resolution_stem=network.low_resolution_stem)
    load_weights(model, network.weights, keep_head=False)
    freeze(model, frozen_stages)
    try:
        _train(model, seen, learning_rate, BATCH, steps, seed)
    except DivergedError:
        return 1 / seen.classes
    return accuracy(model, unseen)


def fine_tune_by(network: Pretrained, seen: Images, unseen: Images, regime: Regime, seed: int) -> float:
    """The accuracy on ``unseen`` after a regime's training on ``seen``, of weights or average, whichever is better.

    Chance where it diverges. Images are moved by a few pixels; regimes with other augmentations are none of these.
    """
    torch.manual_seed(seed)
    model = build_model(network.architecture, seen.classes, low_resolution_stem=network.low_resolution_stem)
    load_weights(model, network.weights, keep_head=False)
    freeze(model, regime.frozen_stages)
    trained: nn.Module = model
    if regime.linear_probe:
        head = head_of(model)[1]
        seen, unseen = (Images(_handed_to(head, model, images), images.labels) for images in (seen, unseen))
        trained = nn.Sequential(head, nn.Flatten(1))
    size = min(regime.batch_size or BATCH, len(seen))
    hyperparameters = Hyperparameters(
        regime.learning_rate,
        size,
        optimizer=regime.optimizer,
        momentum=regime.momentum,
        weight_decay=regime.weight_decay,
        layer_decay=1.0 if regime.linear_probe else regime.layer_decay,
        label_smoothing=regime.label_smoothing,
        ema=regime.ema,
    )
    trainer = Trainer(trained, hyperparameters, Target(torch.device("cpu")))
    trainer.plan(regime.steps)
    try:
        trainer.train(_batches_by(seen, regime, size, seed), regime.steps)
    except DivergedError:
        return 1 / seen.classes
    reached = accuracy(trained, unseen)
    if trainer.ema is not None:
        with trainer.ema.applied():
            reached = max(reached, accuracy(trained, unseen))
    return reached


def _batches_by(images: Images, regime: Regime, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    plain = images.batches(size, seed, shift=0 if regime.linear_probe else LARGEST_SHIFT)
    for number, (pixels, labels) in enumerate(plain):
        if regime.mixup:
            yield mixed(pixels, labels, images.classes, regime.mixup, seed_of(seed, number))
        else:
            yield pixels, labels


@torch.no_grad()
def _handed_to(head: nn.Module, model: nn.Module, images: Images) -> Tensor:
    """What the network hands to its classifier for images as they are."""
    handed: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _head, inputs: handed.append(inputs[0]))
    model.eval()
    for pixels in images.pixels.split(256):
        model(pixels)
    hook.remove()
    return torch.cat(handed).float()


@torch.no_grad()
def accuracy(model: nn.Module, images: Images) -> float:
    """Top-1, in evaluation mode."""
    model.eval()
    right = [
        model(pixels).argmax(1) == labels
        for pixels, labels in zip(images.pixels.split(256), images.labels.split(256), strict=True)
    ]
    return float(torch.cat(right).float().mean())


def _train(model: nn.Module, images: Images, rate: float, batch_size: int, steps: int, seed: int) -> None:
    trainer = Trainer(model, Hyperparameters(rate, batch_size), Target(torch.device("cpu")))
    trainer.plan(steps)
    trainer.train(images.batches(batch_size, seed), steps)
