"""Features that a frozen network computes once for each image, instead of the images."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from nasoa_runtime.pods.training.batches import Batch, Loader

KEPT_IMAGES = 200_000
"""Images whose features are kept: a gibibyte of 1,280 floats each. Further ones are computed again each time."""

Extract = Callable[[Tensor], Tensor]
"""From images (batch, 3, side, side) to features (batch, ...)."""


class Features:
    """The features of a dataset's images, computed when a batch first asks for them.

    One instance serves one stream of batches at a time.
    """

    def __init__(self, loader: Loader, extract: Extract, kept_images: int = KEPT_IMAGES) -> None:
        self._loader, self._extract, self._kept_images = loader, extract, kept_images
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}
        """Features and label by position."""

    def batches(self, batches: Iterable[list[int]]) -> Iterator[Batch]:
        """Features and labels of the images at the positions of each batch, in their order."""
        # Images are read ahead of the batch that they are for, so what to read is worked out ahead of it too.
        ours, readers = itertools.tee(self._planned(batches))
        images = self._loader.as_they_are(missing for _, missing in readers if missing)
        for positions, missing in ours:
            fresh: dict[int, tuple[Tensor, Tensor]] = {}
            if missing:
                pixels, labels = next(images)
                with torch.no_grad():
                    fresh = dict(zip(missing, zip(self._extract(pixels), labels, strict=True), strict=True))
                for position in missing[: self._kept_images - len(self._kept)]:
                    self._kept[position] = fresh[position]
            found = [fresh.get(position) or self._kept[position] for position in positions]
            yield torch.stack([features for features, _ in found]), torch.stack([label for _, label in found])

    def _planned(self, batches: Iterable[list[int]]) -> Iterator[tuple[list[int], list[int]]]:
        """Each batch's positions, and those of them whose features won't be there when its turn comes."""
        kept = set(self._kept)
        for positions in batches:
            missing = list(dict.fromkeys(position for position in positions if position not in kept))
            kept.update(missing[: self._kept_images - len(kept)])
            yield positions, missing
