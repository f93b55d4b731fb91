"""From an encoded image to RGB pixels."""

from __future__ import annotations

import io
import threading
import warnings
from contextlib import nullcontext
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Interpolation = Literal["bilinear", "bicubic"]
Pixels = NDArray[np.uint8]

RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
LOW_RESOLUTION = 64
"""Up to this size images are loaded at the size they are trained at; above, with a margin to crop from."""
MARGIN = 1.15
LARGEST_PIXELS = 64_000_000
"""Decoded, such an image takes up to half a gibibyte; a few kilobytes of PNG can claim any size."""
LARGE_PIXELS = 4_000_000
"""Images above are decoded one at a time, so that many at once don't fill the pod's memory."""
_LARGE = threading.Lock()
warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # The limit above is lower, and says what to do.


class BrokenImageError(ValueError):
    """The file is not an image that can be decoded."""


def load_size(image_size: int) -> int:
    """Side of the square an image is loaded at for training at ``image_size`` pixels."""
    return image_size if image_size <= LOW_RESOLUTION else 2 * round(image_size * MARGIN / 2)


def decode(content: bytes, size: int, interpolation: Interpolation = "bilinear") -> Pixels:
    """Decode to RGB, scale the shorter side to ``size`` and cut the centre out.

    Returns:
        uint8 pixels of shape (size, size, 3).

    Raises:
        BrokenImageError: Whatever keeps the file from being decoded.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            # Large JPEGs are decoded at a fraction of their size, never below what is needed.
            image.draft("RGB", (2 * size, 2 * size))
            count = _checked_count(image)
            with _LARGE if count > LARGE_PIXELS else nullcontext():
                pixels = to_rgb(image)
                if pixels.size != (size, size):
                    pixels = ImageOps.fit(pixels, (size, size), RESAMPLING[interpolation])
    except BrokenImageError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, MemoryError) as error:
        raise BrokenImageError(str(error) or type(error).__name__) from error
    return np.asarray(pixels, dtype=np.uint8)


def _checked_count(image: Image.Image) -> int:
    """Pixels of an image, which is not decoded yet.

    Raises:
        BrokenImageError: They are too many.
    """
    count = image.width * image.height
    if count > LARGEST_PIXELS:
        msg = f"{image.width} x {image.height} pixels, more than {LARGEST_PIXELS // 10**6} million: scale it down"
        raise BrokenImageError(msg)
    return count


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB: transparency over white, 16 bits to the upper 8, orientation tags applied."""
    image = ImageOps.exif_transpose(image)
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=np.float64)
        if not np.isfinite(values).all():
            msg = "pixels are not finite"
            raise ValueError(msg)
        scale = 255 / 65535 if values.max(initial=0) > 255 else 1.0
        return Image.fromarray(np.clip(values * scale, 0, 255).astype(np.uint8), "L").convert("RGB")
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
