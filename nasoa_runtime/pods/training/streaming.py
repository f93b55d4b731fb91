"""Datasets that are too large for memory: decoded by worker processes, augmented with torchvision's v2 transforms."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision.transforms import v2

from nasoa_runtime.boundary import Preprocessing
from nasoa_runtime.pods.dataset.images import BrokenImageError, decode
from nasoa_runtime.pods.dataset.reading import Dataset
from nasoa_runtime.pods.training.augmentation import Augmentation, Transform, drawing, policy_transform, seed_of
from nasoa_runtime.pods.training.batches import Pick
from nasoa_runtime.pods.training.device import Target

IGNORED_LABEL = -100
"""What cross-entropy leaves out: an image that decoded when it was checked and no longer does."""


class Augmenting:
    """What an image, uint8 (3, loaded side, loaded side), goes through before it is (3, side, side)."""

    def __init__(self, augmentation: Augmentation, preprocessing: Preprocessing) -> None:
        policy = policy_transform(augmentation.policy, preprocessing)
        self._parts: dict[str, Transform] = {} if policy is None else {"policy": policy}
        self._parts["crop"] = v2.RandomResizedCrop(preprocessing.image_size, scale=(0.5, 1.0))
        if augmentation.mirroring:
            self._parts["mirror"] = v2.RandomHorizontalFlip()

    def __call__(self, image: Tensor, seed: int) -> Tensor:
        """Draw from streams that begin at ``seed``, one for each part, and apply it."""
        for purpose, transform in self._parts.items():
            with drawing(seed_of(seed, purpose)):
                image = transform(image)
        return image


class ImageFiles(TorchDataset[tuple[Tensor, int]]):
    """Decodes the image that is picked: uint8, shape (3, side, side), and its label."""

    def __init__(self, dataset: Dataset, side: int, augmenting: Augmenting | None) -> None:
        self._dataset = dataset
        self._side = side
        self._augmenting = augmenting
        self._centre = v2.CenterCrop(side)

    def __len__(self) -> int:
        return len(self._dataset.files)

    def __getitem__(self, pick: Pick) -> tuple[Tensor, int]:
        position, seed = pick
        path = self._dataset.files[position]
        try:
            pixels = decode(path.read_bytes(), self._dataset.side, self._dataset.interpolation)
        except (BrokenImageError, OSError):
            return torch.zeros(3, self._side, self._side, dtype=torch.uint8), IGNORED_LABEL
        image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
        image = self._centre(image) if self._augmenting is None else self._augmenting(image, seed)
        return image, int(self._dataset.labels[position])


def _collate(items: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    images = torch.stack([image for image, _ in items]).permute(0, 2, 3, 1).contiguous()
    return images, torch.tensor([label for _, label in items])


def loader(
    dataset: Dataset,
    side: int,
    picks: Iterable[list[Pick]],
    workers: int,
    target: Target,
    augmenting: Augmenting | None = None,
) -> DataLoader[tuple[Tensor, int]]:
    """Batches of uint8 pixels (batch, side, side, 3) and labels, in the order of ``picks``."""
    return DataLoader(
        ImageFiles(dataset, side, augmenting),
        batch_sampler=cast("Any", picks),
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=target.is_cuda,
        prefetch_factor=4 if workers else None,
    )
