"""What is done to training images beside normalising them, and what is drawn for it.

Everything drawn for batch s follows from the seed and s alone, so that a resumed run sees the same images. Each purpose
has a stream of its own: an option that is switched on leaves what the others draw as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nasoa_runtime.boundary import AugmentationName, Preprocessing, Regime

Transform = Callable[[Tensor], Tensor]


def seed_of(*parts: object) -> int:
    """A seed for one random stream, unrelated to those of other parts."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True)
class Augmentation:
    """What a regime says about training images; the defaults crop them, and that is all."""

    policy: AugmentationName = "crop"
    mirroring: bool = False
    mixup: float = 0.0
    """Alpha of the Beta distribution; 0 mixes none."""

    @classmethod
    def of(cls, regime: Regime) -> Augmentation:
        """The regime's."""
        return cls(regime.augmentation, regime.mirroring, regime.mixup)


CROPS = Augmentation()
AUGMENTING_MODULE = "torchvision.transforms.v2"
"""What all augmentations but crops are from."""


def policy_transform(policy: AugmentationName, preprocessing: Preprocessing) -> Transform | None:
    """What changes an image, uint8 (3, side, side), before it is cropped; ``None`` for crops alone.

    It is torchvision's, in its published strength, and draws from torch's global generator: call it within
    :func:`drawing`. What is moved into the image has the colour that normalises to zero.
    """
    if policy == "crop":
        return None
    from torchvision.transforms import v2  # noqa: PLC0415 - takes seconds, and few regimes need it

    fill = [round(255 * mean) for mean in preprocessing.mean]
    kind = v2.RandAugment if policy == "rand-augment" else v2.TrivialAugmentWide
    transform: Transform = kind(fill=fill)
    return transform


@contextmanager
def drawing(seed: int) -> Iterator[None]:
    """Within, torch's global generator on the CPU is one that begins at ``seed``; afterwards it is as it was."""
    before = torch.random.get_rng_state()
    # Not torch.manual_seed, which would begin the generators of GPUs anew too.
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.random.set_rng_state(before)


def transformed(pixels: Tensor, transform: Transform, seed: int) -> Tensor:
    """Every image of a batch, uint8 (batch, side, side, 3), changed for itself."""
    with drawing(seed):
        images = [transform(image) for image in pixels.permute(0, 3, 1, 2)]
    return torch.stack(images).permute(0, 2, 3, 1)


def mirrored(images: Tensor, seed: int) -> Tensor:
    """Each image of (batch, 3, side, side) as it is or its mirror image, with equal chances."""
    coins = torch.rand(len(images), generator=torch.Generator().manual_seed(seed)) < 0.5
    return torch.where(coins.to(images.device)[:, None, None, None], images.flip(3), images)


def mixed(images: Tensor, labels: Tensor, classes: int, alpha: float, seed: int) -> tuple[Tensor, Tensor]:
    """Mixup (Zhang et al., arXiv 1710.09412): each image is joined with another of the batch, and so are the labels.

    Args:
        images: Shape (batch, 3, side, side), normalised.
        labels: Shape (batch,), -100 for an image to be ignored.
        classes: How many there are.
        alpha: The share of an image is drawn from Beta(alpha, alpha), once for a batch.
        seed: Of what is drawn.

    Returns:
        The images, and the share of each class in them, shape (batch, classes); what is ignored has no share.
    """
    random = np.random.default_rng(seed)
    share = float(random.beta(alpha, alpha))
    others = torch.from_numpy(random.permutation(len(images))).to(images.device)
    known = labels >= 0
    shares = F.one_hot(labels.clamp(min=0), classes).to(images.dtype) * known[:, None]
    return torch.lerp(images[others], images, share), torch.lerp(shares[others], shares, share)
