"""Batches for training and evaluation. Batch number s is a function of the seed and s alone, so a resumed run goes on
with exactly the images it would have seen."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from nasoa_runtime.boundary import Preprocessing
from nasoa_runtime.pods.dataset.images import LOW_RESOLUTION
from nasoa_runtime.pods.dataset.reading import Dataset
from nasoa_runtime.pods.training.augmentation import (
    CROPS,
    Augmentation,
    mirrored,
    mixed,
    policy_transform,
    seed_of,
    transformed,
)
from nasoa_runtime.pods.training.device import Target

if TYPE_CHECKING:
    from nasoa_runtime.pods.training.streaming import Augmenting

Batch = tuple[Tensor, Tensor]
"""Images (batch, 3, side, side), float, normalised; labels (batch,), int64, -100 for an image to be ignored.

Where images are mixed, labels are the share of each class instead, (batch, classes), float.
"""
Pick = tuple[int, int]
"""The position of an image in its dataset, and the seed of what is drawn for it."""

LEAST_SCALE = 0.75
"""Smallest side of a random crop, as a share of the image's."""
EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Normalise:
    """uint8 (batch, side, side, 3) to normalised float (batch, 3, side, side), channels last in memory."""

    scale: Tensor
    shift: Tensor

    @classmethod
    def of(cls, preprocessing: Preprocessing, device: torch.device) -> Normalise:
        """(x / 255 - mean) / std as one multiplication and one addition."""
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        return cls((1 / (255 * std)).to(device), (-mean / std).to(device))

    def __call__(self, pixels: Tensor) -> Tensor:
        """Normalise and move the channels to the front without copying."""
        return torch.addcmul(self.shift, pixels.to(torch.float32), self.scale).permute(0, 3, 1, 2)


class Order:
    """An endless stream of positions: one permutation after another, so that every batch is full."""

    def __init__(self, indices: NDArray[np.int64], batch_size: int, seed: int, target: Target) -> None:
        self._indices = torch.from_numpy(indices)
        self._batch_size, self._seed, self._target = batch_size, seed, target
        self._permutations: dict[int, Tensor] = {}

    def positions(self, step: int) -> Tensor:
        """Positions of batch ``step`` (of this worker's share of it)."""
        count = len(self._indices)
        share = range(step * self._batch_size + self._target.rank, (step + 1) * self._batch_size, self._target.world)
        chosen = torch.tensor(share, dtype=torch.int64)
        epochs, places = chosen.div(count, rounding_mode="floor"), chosen % count
        positions = torch.empty_like(places)
        for epoch in sorted(set(epochs.tolist())):
            mask = epochs == epoch
            positions[mask] = self._permutation(epoch)[places[mask]]
        return self._indices[positions]

    def _permutation(self, epoch: int) -> Tensor:
        if epoch not in self._permutations:
            generator = torch.Generator().manual_seed(seed_of(self._seed, "order", epoch))
            self._permutations = {
                number: kept for number, kept in self._permutations.items() if number >= epoch - 1
            } | {epoch: torch.randperm(len(self._indices), generator=generator)}
        return self._permutations[epoch]


class Loader:
    """Gives a dataset's batches on the target device."""

    def __init__(
        self,
        dataset: Dataset,
        preprocessing: Preprocessing,
        batch_size: int,
        seed: int,
        target: Target,
        augmentation: Augmentation = CROPS,
    ) -> None:
        self._dataset, self._seed, self._target = dataset, seed, target
        self._preprocessing, self._side = preprocessing, preprocessing.image_size
        self._batch_size = batch_size
        self._augmentation = augmentation
        self._transform = policy_transform(augmentation.policy, preprocessing)
        self._normalise = Normalise.of(preprocessing, target.device)
        self._labels = torch.from_numpy(dataset.labels).to(target.device)
        # Small sets are decoded once and stay on the device; augmentation is arithmetic on whole batches.
        self._pixels = None if dataset.pixels is None else torch.from_numpy(dataset.pixels).to(target.device)

    @property
    def order(self) -> Order:
        """The order in which training images are seen."""
        return Order(self._dataset.splits.train, self._batch_size, self._seed, self._target)

    def training(self, start: int = 0) -> Iterator[Batch]:
        """Endless augmented batches from batch ``start`` on."""
        batches = self._streamed(start) if self._pixels is None else self._resident(self._pixels, start)
        for step, (images, labels) in enumerate(batches, start):
            if self._augmentation.mixup:
                seed = self._seed_of("mixup", step)
                yield mixed(images, labels, len(self._dataset.classes), self._augmentation.mixup, seed)
            else:
                yield images, labels

    def _resident(self, pixels: Tensor, start: int) -> Iterator[Batch]:
        order = self.order
        for step in itertools.count(start):
            positions = order.positions(step).to(self._target.device)
            generator = torch.Generator().manual_seed(self._seed_of("augment", step))
            source, places = pixels, positions
            if self._transform is not None:
                source = transformed(pixels[positions], self._transform, self._seed_of("policy", step))
                places = torch.arange(len(positions), device=self._target.device)
            images = augment(source, places, self._side, generator, self._normalise)
            if self._augmentation.mirroring:
                images = mirrored(images, self._seed_of("mirror", step))
            yield images, self._labels[positions]

    def _streamed(self, start: int) -> Iterator[Batch]:
        from nasoa_runtime.pods.training.streaming import Augmenting  # noqa: PLC0415 - brings torchvision

        order = self.order

        def picks() -> Iterator[list[Pick]]:
            for step in itertools.count(start):
                positions = order.positions(step).tolist()
                yield [(position, self._seed_of("augment", step, place)) for place, position in enumerate(positions)]

        return self._loaded(picks(), Augmenting(self._augmentation, self._preprocessing))

    def _seed_of(self, purpose: str, step: int, *more: int) -> int:
        return seed_of(self._seed, purpose, step, self._target.rank, *more)

    def evaluation(self, indices: NDArray[np.int64], batch_size: int | None = None) -> Iterator[Batch]:
        """The images at ``indices`` once, in order, as they are."""
        return self.as_they_are(self.evaluation_batches(indices, batch_size))

    def evaluation_batches(self, indices: NDArray[np.int64], batch_size: int | None = None) -> Iterator[list[int]]:
        """``indices`` in batches of the size that is evaluated."""
        size = batch_size or min(EVALUATION_BATCH, max(self._batch_size, EVALUATION_BATCH * 32 * 32 // self._side**2))
        return (indices[start : start + size].tolist() for start in range(0, len(indices), size))

    def as_they_are(self, batches: Iterable[list[int]]) -> Iterator[Batch]:
        """The images at the positions of each batch, not augmented."""
        if self._pixels is None:
            yield from self._loaded([(position, 0) for position in batch] for batch in batches)
            return
        margin = (self._dataset.side - self._side) // 2
        for batch in batches:
            positions = torch.tensor(batch, dtype=torch.int64, device=self._target.device)
            pixels = self._pixels[positions]
            if margin > 0:
                pixels = pixels[:, margin : margin + self._side, margin : margin + self._side]
            yield self._normalise(pixels), self._labels[positions]

    def _loaded(self, picks: Iterable[list[Pick]], augmenting: Augmenting | None = None) -> Iterator[Batch]:
        """Batches of images read from files by worker processes."""
        from nasoa_runtime.pods.training.streaming import loader  # noqa: PLC0415 - as above

        workers = min(8, os.cpu_count() or 1)
        for pixels, labels in loader(self._dataset, self._side, picks, workers, self._target, augmenting):
            moved = pixels.to(self._target.device, non_blocking=True)
            yield self._normalise(moved), labels.to(self._target.device, non_blocking=True)


def augment(pixels: Tensor, positions: Tensor, side: int, generator: torch.Generator, normalise: Normalise) -> Tensor:
    """A random crop of each image, every one its own.

    Mirroring is none of it: a mirrored digit or letter is another one, so it is for a regime to ask for it.

    Args:
        pixels: All images, uint8, shape (images, loaded side, loaded side, 3).
        positions: Which of them, shape (batch,).
        side: Side of what comes out.
        generator: A CPU generator.
        normalise: Applied to the result.

    Returns:
        Shape (batch, 3, side, side).
    """
    batch, loaded, device = len(positions), pixels.shape[1], pixels.device
    if side <= LOW_RESOLUTION:
        # Shift by up to an eighth; what comes in from outside repeats the edge.
        reach = max(side // 8, 1)
        offsets = torch.randint(-reach, reach + 1, (2, batch, 1), generator=generator).to(device)
        rows, columns = (offsets + torch.arange(side, device=device)).clamp_(0, loaded - 1)
        return normalise(pixels[positions[:, None, None], rows[:, :, None], columns[:, None, :]])
    random = torch.rand(4, batch, generator=generator).to(device)
    scale = LEAST_SCALE + (1 - LEAST_SCALE) * random[0]
    stretch = torch.exp((random[1] - 0.5) * 0.2)
    heights, widths = (scale * stretch).clamp(max=1), (scale / stretch).clamp(max=1)
    transform = torch.zeros(batch, 2, 3, device=device)
    transform[:, 0, 0], transform[:, 1, 1] = widths, heights
    transform[:, 0, 2], transform[:, 1, 2] = (1 - widths) * (2 * random[2] - 1), (1 - heights) * (2 * random[3] - 1)
    grid = F.affine_grid(transform, [batch, 3, side, side], align_corners=False)
    images = normalise(pixels[positions])
    return F.grid_sample(images, grid, align_corners=False, padding_mode="border")
