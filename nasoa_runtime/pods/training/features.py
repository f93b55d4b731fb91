"""Features that a frozen network computes once for each image, instead of the images."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator

import torch
from torch import Tensor

from nasoa_runtime.pods.training.batches import Batch, Loader

KEPT_IMAGES = 200_000
"""Images whose features are kept: a gibibyte of 1,280 floats each. Further ones are computed again each time."""

Extract = Callable[[Tensor], Tensor]
"""From images (batch, 3, side, side) to features (batch, ...)."""


Positions = Callable[[], Iterable[list[int]]]
"""Gives the positions of the images of each batch, the same ones whenever it is called; they may have no end."""


class Features:
    """The features of some images of a dataset, computed when a batch first asks for them.

    One instance serves one stream of batches at a time.

    Args:
        loader: Of the images.
        extract: Computes the features.
        images: How many different images batches will ask for.
        kept_images: Of how many the features are kept.
    """

    def __init__(self, loader: Loader, extract: Extract, images: int, kept_images: int = KEPT_IMAGES) -> None:
        self._loader, self._extract = loader, extract
        self._images, self._kept_images = images, kept_images
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}
        """Features and label by position."""

    def batches(self, positions: Positions) -> Iterator[Batch]:
        """Features and labels of the images at the positions of each batch, in their order."""
        # Images are read ahead of the batch that they are for, so what to read is worked out apart from it.
        images = self._loader.as_they_are(self._to_read(positions))
        for asked in positions():
            fresh: dict[int, tuple[Tensor, Tensor]] = {}
            missing = _missing(asked, self._kept)
            if missing:
                pixels, labels = next(images)
                with torch.no_grad():
                    fresh = dict(zip(missing, zip(self._extract(pixels), labels, strict=True), strict=True))
                for position in missing[: self._kept_images - len(self._kept)]:
                    self._kept[position] = fresh[position]
            found = [fresh.get(position) or self._kept[position] for position in asked]
            yield torch.stack([features for features, _ in found]), torch.stack([label for _, label in found])

    def _to_read(self, positions: Positions) -> Iterator[list[int]]:
        """What each batch will find missing, batches without any left out; ends when nothing will be missing again."""
        kept = set(self._kept)
        for asked in positions():
            if len(kept) == self._images:
                return
            missing = _missing(asked, kept)
            if missing:
                kept.update(missing[: self._kept_images - len(kept)])
                yield missing


def _missing(asked: list[int], kept: Container[int]) -> list[int]:
    return list(dict.fromkeys(position for position in asked if position not in kept))
