"""Reading a dataset: from S3 or a directory into memory, or onto the work disk where it is too large for that."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.boundary import DatasetReference, digest
from nasoa_runtime.pods.dataset.folders import Folders, ImageFile, arrange, keep_at_most
from nasoa_runtime.pods.dataset.images import BrokenImageError, Interpolation, Pixels, decode, load_size
from nasoa_runtime.pods.dataset.split import Splits, dataset_digest, split
from nasoa_runtime.pods.failures import BadDatasetError
from nasoa_runtime.pods.retrying import blaming, retrying
from nasoa_runtime.storage.s3 import ObjectStore

log = logging.getLogger(__name__)

RESIDENT_BYTES = 1 << 30
"""Datasets whose pixels take more than this stay on disk and are decoded again for every epoch."""
BROKEN_PERCENT = 1
DOWNLOADS = 16
"""Concurrent reads: S3 answers late, not slowly."""

ReadBytes = Callable[[str], bytes]


@dataclass(frozen=True)
class Dataset:
    """A dataset ready to be trained on.

    Exactly one of ``pixels`` (uint8, shape (images, side, side, 3)) and ``files`` is there.
    """

    classes: tuple[str, ...]
    digest: str
    labels: NDArray[np.int64]
    splits: Splits
    side: int
    interpolation: Interpolation
    pixels: Pixels | None = None
    files: tuple[Path, ...] = ()
    broken: tuple[str, ...] = ()
    ignored: int = 0
    seconds: float = 0.0
    """What listing, reading and decoding took."""

    @property
    def images_per_class(self) -> NDArray[np.int64]:
        """Training images of each class, shape (classes,)."""
        return np.bincount(self.labels[self.splits.train], minlength=len(self.classes))


@dataclass(frozen=True)
class Source:
    """Where a dataset's files are."""

    uri: str
    paths: tuple[str, ...]
    read: ReadBytes
    directories: tuple[str, ...] = ()
    root: Path | None = None
    """The directory, if the files are on this machine."""


def open_source(reference: DatasetReference, store: Callable[[], ObjectStore]) -> Source:
    """List a dataset.

    Raises:
        BadDatasetError: Another scheme, no such directory or bucket, no access, nothing there.
    """
    uri = reference.uri
    if uri.startswith("s3://"):
        return _open_bucket(uri, store())
    root = Path(uri.removeprefix("file://"))
    if "://" in uri.removeprefix("file://") or not root.is_absolute():
        msg = f"{uri!r} is neither s3://bucket/prefix nor a directory: write one of them."
        raise BadDatasetError(msg)
    if not root.is_dir():
        msg = f"there is no directory {uri}: check the claim's path."
        raise BadDatasetError(msg)
    paths, directories = [], []
    for folder, below, names in os.walk(root):
        relative = Path(folder).relative_to(root)
        directories += [(relative / name).as_posix() for name in below]
        paths += [(relative / name).as_posix() for name in names]
    return Source(uri, tuple(paths), lambda path: (root / path).read_bytes(), tuple(directories), root)


def _open_bucket(uri: str, store: ObjectStore) -> Source:
    prefix = uri.rstrip("/") + "/"
    inside = prefix.removeprefix("s3://").partition("/")[2]
    with blaming("dataset.uri"):
        names = retrying(lambda: [listed.key[len(inside) :] for listed in store.list(prefix)])
    if not names:
        msg = f"there is nothing under {prefix}: check the prefix, and that the upload has finished."
        raise BadDatasetError(msg)

    def read(path: str) -> bytes:
        with blaming("dataset.uri"):
            found = retrying(lambda: store.get(prefix + path))
        if found is None:
            msg = f"{prefix}{path} vanished while the dataset was read: start again when it is settled."
            raise BadDatasetError(msg)
        return found.body

    paths = tuple(name for name in names if not name.endswith("/"))
    return Source(uri, paths, read, tuple(name for name in names if name.endswith("/") and name.strip("/")))


def read_dataset(
    reference: DatasetReference,
    image_size: int,
    store: Callable[[], ObjectStore],
    work_directory: Path,
    *,
    interpolation: Interpolation = "bilinear",
    with_test: bool = True,
    resident_bytes: int = RESIDENT_BYTES,
) -> Dataset:
    """List, read, decode and split a dataset.

    Args:
        reference: Where it is and how much of it to use.
        image_size: Side in pixels of what the network will see.
        store: Gives the tenant's store; asked only for ``s3://``.
        work_directory: Takes the files of a dataset that is too large for memory.
        interpolation: How images are scaled.
        with_test: Whether to read the test folder's images.
        resident_bytes: Most bytes of pixels to hold in memory.

    Raises:
        BadDatasetError: The dataset can't be used; the message says what to change.
    """
    started = time.monotonic()
    source = open_source(reference, store)
    folders = keep_at_most(arrange(source.uri, source.paths, source.directories), reference.max_images, reference.seed)
    has_test_folder = folders.has_test_folder
    if not with_test:
        folders = replace(folders, files=tuple(file for file in folders.files if not file.test))
    side = load_size(image_size)
    resident = len(folders.files) * side * side * 3 <= resident_bytes
    pixels = np.empty((len(folders.files), side, side, 3), dtype=np.uint8) if resident else None

    def read_one(position: int, file: ImageFile) -> str | BrokenImageError:
        try:
            content = source.read(file.path)
            decoded = decode(content, side, interpolation)
        except BrokenImageError as error:
            return error
        except OSError as error:
            # A link that leads nowhere, or a file that nobody but its owner may read.
            return BrokenImageError(error.strerror or str(error))
        if pixels is not None:
            pixels[position] = decoded
        elif source.root is None:
            path = work_directory / "data" / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return digest(content)

    found = list(_in_threads(read_one, folders.files))
    broken = tuple(
        f"{file.path}: {error}"
        for file, error in zip(folders.files, found, strict=True)
        if isinstance(error, BrokenImageError)
    )
    _check_broken(source.uri, broken, len(found))
    kept = np.asarray([n for n, content in enumerate(found) if isinstance(content, str)], dtype=np.int64)
    files = [folders.files[n] for n in kept]
    digests = [str(found[n]) for n in kept]
    labels, tests = [file.label for file in files], [file.test for file in files]
    _check_classes(source.uri, folders, files)
    if pixels is not None and len(kept) < len(pixels):
        pixels = pixels[kept]
    root = source.root or work_directory / "data"
    dataset = Dataset(
        classes=folders.classes,
        digest=dataset_digest(folders.classes, labels, digests, tests),
        labels=np.asarray(labels, dtype=np.int64),
        splits=split(labels, digests, tests, reference.seed, has_test_folder=has_test_folder, classes=folders.classes),
        side=side,
        interpolation=interpolation,
        pixels=pixels,
        files=() if resident else tuple(root / file.path for file in files),
        broken=broken,
        ignored=folders.ignored,
        seconds=time.monotonic() - started,
    )
    log.info(
        "%s: %d images of %d classes in %.1f s; %d other files ignored, %d broken images skipped.",
        source.uri, len(files), len(folders.classes), dataset.seconds, folders.ignored, len(broken),
    )  # fmt: skip
    twice = len(set(zip(digests, labels, strict=True))) - len(set(digests))
    if twice:
        log.warning("%d images are in more than one class: no network can tell these apart.", twice)
    return dataset


def _in_threads(
    read_one: Callable[[int, ImageFile], str | BrokenImageError], files: Iterable[ImageFile]
) -> Iterator[str | BrokenImageError]:
    pool = ThreadPoolExecutor(DOWNLOADS, thread_name_prefix="read")
    try:
        yield from pool.map(lambda pair: read_one(*pair), enumerate(files))
    finally:
        # After an error nobody waits for the reads still queued.
        pool.shutdown(wait=False, cancel_futures=True)


def _check_broken(uri: str, broken: tuple[str, ...], images: int) -> None:
    if len(broken) * 100 > images * BROKEN_PERCENT:
        named = "; ".join(broken[:3])
        msg = (
            f"{len(broken)} of {images} images under {uri} can't be decoded, "
            f"more than {BROKEN_PERCENT} %: repair or remove them ({named})."
        )
        raise BadDatasetError(msg)


def _check_classes(uri: str, folders: Folders, files: list[ImageFile]) -> None:
    left = {file.label for file in files if not file.test}
    for label, name in enumerate(folders.classes):
        if label not in left:
            msg = f"class {name!r} under {uri} has no image that can be decoded: add some."
            raise BadDatasetError(msg)
