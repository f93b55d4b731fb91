"""Datasets that are too large for memory: decoded by worker processes, augmented with torchvision's v2 transforms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision.transforms import v2

from nasoa_runtime.pods.dataset.images import BrokenImageError, decode
from nasoa_runtime.pods.dataset.reading import Dataset
from nasoa_runtime.pods.training.device import Target

IGNORED_LABEL = -100
"""What cross-entropy leaves out: an image that decoded when it was checked and no longer does."""


class ImageFiles(TorchDataset[tuple[Tensor, int]]):
    """Decodes the image at a position: uint8, shape (3, side, side), and its label."""

    def __init__(self, dataset: Dataset, side: int, *, augment: bool) -> None:
        self._dataset = dataset
        self._side = side
        self._transform = v2.RandomResizedCrop(side, scale=(0.5, 1.0)) if augment else v2.CenterCrop(side)

    def __len__(self) -> int:
        return len(self._dataset.files)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        path = self._dataset.files[position]
        try:
            pixels = decode(path.read_bytes(), self._dataset.side, self._dataset.interpolation)
        except (BrokenImageError, OSError):
            return torch.zeros(3, self._side, self._side, dtype=torch.uint8), IGNORED_LABEL
        image = self._transform(torch.from_numpy(pixels.copy()).permute(2, 0, 1))
        return image, int(self._dataset.labels[position])


def _collate(items: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    images = torch.stack([image for image, _ in items]).permute(0, 2, 3, 1).contiguous()
    return images, torch.tensor([label for _, label in items])


def loader(
    dataset: Dataset, side: int, sampler: Any, workers: int, target: Target, *, augment: bool
) -> DataLoader[tuple[Tensor, int]]:
    """Batches of uint8 pixels (batch, side, side, 3) and labels, in the order of ``sampler``."""
    return DataLoader(
        ImageFiles(dataset, side, augment=augment),
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=target.is_cuda,
        prefetch_factor=4 if workers else None,
    )
