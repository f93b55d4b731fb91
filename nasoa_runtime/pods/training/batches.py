"""Batches for training and evaluation. Batch number s is a function of the seed and s alone, so a resumed run goes on
with exactly the images it would have seen."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from nasoa_runtime.boundary import Preprocessing
from nasoa_runtime.pods.dataset.images import LOW_RESOLUTION
from nasoa_runtime.pods.dataset.reading import Dataset
from nasoa_runtime.pods.training.device import Target

Batch = tuple[Tensor, Tensor]
"""Images (batch, 3, side, side), float, normalised; labels (batch,), int64, -100 for an image to be ignored."""

LEAST_SCALE = 0.75
"""Smallest side of a random crop, as a share of the image's."""
EVALUATION_BATCH = 256


def seed_of(*parts: object) -> int:
    """A seed for one random stream, unrelated to those of other parts."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8], "big") >> 1


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
        self, dataset: Dataset, preprocessing: Preprocessing, batch_size: int, seed: int, target: Target
    ) -> None:
        self._dataset, self._seed, self._target = dataset, seed, target
        self._side = preprocessing.image_size
        self._batch_size = batch_size
        self._normalise = Normalise.of(preprocessing, target.device)
        self._labels = torch.from_numpy(dataset.labels).to(target.device)
        # Small sets are decoded once and stay on the device; augmentation is arithmetic on whole batches.
        self._pixels = None if dataset.pixels is None else torch.from_numpy(dataset.pixels).to(target.device)

    def training(self, start: int = 0) -> Iterator[Batch]:
        """Endless augmented batches from batch ``start`` on."""
        order = Order(self._dataset.splits.train, self._batch_size, self._seed, self._target)
        if self._pixels is None:
            yield from self._streamed(_Endless(order, start), augment=True)
            return
        step = start
        while True:
            positions = order.positions(step)
            generator = torch.Generator().manual_seed(seed_of(self._seed, "augment", step, self._target.rank))
            positions = positions.to(self._target.device)
            images = augment(self._pixels, positions, self._side, generator, self._normalise)
            yield images, self._labels[positions]
            step += 1

    def evaluation(self, indices: NDArray[np.int64], batch_size: int | None = None) -> Iterator[Batch]:
        """The images at ``indices`` once, in order, as they are."""
        size = batch_size or min(EVALUATION_BATCH, max(self._batch_size, EVALUATION_BATCH * 32 * 32 // self._side**2))
        if self._pixels is None:
            batches = [indices[n : n + size].tolist() for n in range(0, len(indices), size)]
            yield from self._streamed(batches, augment=False)
            return
        margin = (self._dataset.side - self._side) // 2
        for start in range(0, len(indices), size):
            positions = torch.from_numpy(indices[start : start + size]).to(self._target.device)
            pixels = self._pixels[positions]
            if margin > 0:
                pixels = pixels[:, margin : margin + self._side, margin : margin + self._side]
            yield self._normalise(pixels), self._labels[positions]

    def _streamed(self, sampler: object, *, augment: bool) -> Iterator[Batch]:
        from nasoa_runtime.pods.training.streaming import loader  # noqa: PLC0415 - brings torchvision

        workers = min(8, os.cpu_count() or 1)
        for pixels, labels in loader(self._dataset, self._side, sampler, workers, self._target, augment=augment):
            moved = pixels.to(self._target.device, non_blocking=True)
            yield self._normalise(moved), labels.to(self._target.device, non_blocking=True)


class _Endless:
    """The batch sampler of a resumed, endless run."""

    def __init__(self, order: Order, start: int) -> None:
        self._order, self._start = order, start

    def __iter__(self) -> Iterator[list[int]]:
        step = self._start
        while True:
            yield self._order.positions(step).tolist()
            step += 1


def augment(pixels: Tensor, positions: Tensor, side: int, generator: torch.Generator, normalise: Normalise) -> Tensor:
    """A random crop of each image, every one its own.

    Images are never mirrored: a mirrored digit or letter is another one, and a request's classes are unknown.

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
