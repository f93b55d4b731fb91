"""Which files of a dataset are images of which class: a pure reading of its paths."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from nasoa_runtime.pods.failures import BadDatasetError

IMAGE_SUFFIXES = frozenset([".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pnm"])
TRAIN, TEST = "train", "test"
LONGEST_CLASS_NAME = 128
"""Characters; results and models carry the names of all classes."""


@dataclass(frozen=True)
class ImageFile:
    """One image: its path below the dataset's root, its class, and whether it is in the test folder."""

    path: str
    label: int
    test: bool = False


@dataclass(frozen=True)
class Folders:
    """A dataset's classes in order, its images, and how many other files were ignored."""

    classes: tuple[str, ...]
    files: tuple[ImageFile, ...]
    ignored: int = 0

    @property
    def has_test_folder(self) -> bool:
        """Whether the dataset brings its own test images."""
        return any(file.test for file in self.files)


def arrange(uri: str, paths: Iterable[str], directories: Iterable[str] = ()) -> Folders:
    """Sort paths into classes.

    Args:
        uri: The dataset's URI, for messages.
        paths: Paths of files relative to the root, ``class/image`` or ``train/class/image`` and ``test/class/image``;
            folders below a class belong to it.
        directories: Paths of folders known to exist, which may be empty.

    Raises:
        BadDatasetError: No class folders, one class only, a class without images, a test class that is not trained.
    """
    files = sorted(path for path in paths if not _hidden(path))
    folders = {PurePosixPath(path.rstrip("/")).parts for path in directories if not _hidden(path)}
    folders |= {PurePosixPath(path).parts[:-1] for path in files}
    # A dataset of classes that happen to be called train and test has its images directly in them.
    layered = any(len(parts) > 1 and parts[0] == TRAIN for parts in folders)
    images: dict[tuple[str, str], list[str]] = defaultdict(list)
    ignored = 0
    for path in files:
        place = _place(PurePosixPath(path).parts[:-1], layered=layered)
        if place is None or PurePosixPath(path).suffix.lower() not in IMAGE_SUFFIXES:
            ignored += 1
        else:
            images[place].append(path)
    places = {place for parts in folders if (place := _place(parts, layered=layered))}
    _check(uri, places, images)
    classes = tuple(sorted(name for side, name in places if side == TRAIN))
    label = {name: number for number, name in enumerate(classes)}
    found = [
        ImageFile(path, label[name], side == TEST)
        for (side, name), members in sorted(images.items())
        for path in members
    ]
    return Folders(classes, tuple(found), ignored)


def keep_at_most(folders: Folders, limit: int | None, seed: int) -> Folders:
    """Keep ``limit`` images of the training folder, in proportion to the classes but at least one of each.

    The choice follows a hash of seed and path, so that it can be made before anything is read. Test images all stay.
    """
    training = [file for file in folders.files if not file.test]
    if limit is None or len(training) <= limit:
        return folders
    if limit < len(folders.classes):
        msg = f"{limit} is fewer than the {len(folders.classes)} classes; allow one of each or more."
        raise BadDatasetError(msg, "dataset.maxImages")
    by_class: dict[int, list[ImageFile]] = defaultdict(list)
    for file in sorted(training, key=lambda file: hashlib.sha256(f"{seed}/{file.path}".encode()).digest()):
        by_class[file.label].append(file)
    quota = {label: max(1, limit * len(members) // len(training)) for label, members in by_class.items()}
    # Rounding leaves a few to give or to take; the largest classes give and take.
    while (spare := limit - sum(quota.values())) != 0:
        sign = 1 if spare > 0 else -1
        label = max(by_class, key=lambda name: (len(by_class[name]) - quota[name] if sign > 0 else quota[name], -name))
        quota[label] += sign
    kept = {file.path for label, members in by_class.items() for file in members[: quota[label]]}
    return replace(folders, files=tuple(file for file in folders.files if file.test or file.path in kept))


def _hidden(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return path.startswith("/") or any(p.startswith(".") or p in {"__MACOSX", "lost+found"} for p in parts)


def _place(parts: tuple[str, ...], *, layered: bool) -> tuple[str, str] | None:
    """Side and class of a folder, ``None`` for one that is above the classes."""
    if not layered:
        return (TRAIN, parts[0]) if parts else None
    return (parts[0], parts[1]) if len(parts) > 1 and parts[0] in {TRAIN, TEST} else None


def _check(uri: str, places: set[tuple[str, str]], images: dict[tuple[str, str], list[str]]) -> None:
    root = uri.rstrip("/")
    trained = {name for side, name in places if side == TRAIN}
    if not trained or not images:
        msg = (
            f"no class folders with images under {root}: put each class's images in a folder of its own, "
            f"for example {root}/cat/1.png and {root}/dog/1.png."
        )
        raise BadDatasetError(msg)
    empty = sorted(name for name in trained if not images.get((TRAIN, name)))
    if empty:
        more = f" (nor have {len(empty) - 1} others)" if len(empty) > 1 else ""
        msg = f"class {empty[0]!r} under {root} has no images{more}: add some or remove its folder."
        raise BadDatasetError(msg)
    long = sorted(name for name in trained if len(name) > LONGEST_CLASS_NAME)
    if long:
        msg = (
            f"the name of class folder {long[0][:40]!r}... under {root} has {len(long[0])} characters: "
            f"rename it to at most {LONGEST_CLASS_NAME}."
        )
        raise BadDatasetError(msg)
    if len(trained) < 2:
        msg = f"only one class, {min(trained)!r}, under {root}: a classifier needs at least two folders."
        raise BadDatasetError(msg)
    unknown = sorted(name for side, name in places if side == TEST and name not in trained)
    if unknown:
        msg = f"test class {unknown[0]!r} is not a training class: add {root}/train/{unknown[0]}."
        raise BadDatasetError(msg)
