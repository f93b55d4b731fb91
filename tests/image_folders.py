"""Class folders of tiny images for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from nasoa_runtime.storage.s3 import ObjectStore


def make_images(root: Path, classes: int = 3, per_class: int = 20, side: int = 16, seed: int = 0) -> Path:
    """Class k is noise with a bright stripe at its own height: easy to tell apart, every image different."""
    random = np.random.default_rng(seed)
    for label in range(classes):
        folder = root / f"class-{label}"
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            pixels = random.integers(0, 60, (side, side), dtype=np.uint8)
            height = side // classes
            pixels[label * height : (label + 1) * height] += 150
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


def upload(store: ObjectStore, root: Path, uri: str) -> None:
    """Put a folder's files under ``uri``."""
    for path in sorted(root.rglob("*")):
        if path.is_file():
            store.put(f"{uri}/{path.relative_to(root).as_posix()}", path.read_bytes())
