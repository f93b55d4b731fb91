"""The stratified split by content digest and seed: the same images always fall on the same sides."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.pods.failures import BadDatasetError

TEST_SHARE = 0.20
VALIDATION_SHARE = 0.20
"""Of what is not test: 16 % of everything where the test images are cut off, 20 % of the training folder otherwise."""

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Splits:
    """Positions of the images of each side, in order."""

    train: Indices
    validation: Indices
    test: Indices


def dataset_digest(classes: Sequence[str], labels: Sequence[int], digests: Sequence[str], tests: Sequence[bool]) -> str:
    """SHA-256 of what a dataset contains: each image's class, content and folder, whatever the files are called."""
    lines = sorted(
        f"{'test' if test else 'train'}/{classes[label]}/{digest}"
        for label, digest, test in zip(labels, digests, tests, strict=True)
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def split(
    labels: Sequence[int],
    digests: Sequence[str],
    tests: Sequence[bool],
    seed: int,
    *,
    has_test_folder: bool | None = None,
    classes: Sequence[str] = (),
) -> Splits:
    """Cut each class into train, validation and test; copies of one image stay on one side.

    Args:
        labels: Class of each image.
        digests: Content digest of each image.
        tests: Whether each image is in the test folder.
        seed: Another seed gives another cut.
        has_test_folder: Whether there is one, even if its images were not read; ``None``: if ``tests`` has any.
            Without one, 20 % are cut off as test.
        classes: Names of the classes, for messages.

    Raises:
        BadDatasetError: There are too few images to validate with.
    """
    has_test_folder = any(tests) if has_test_folder is None else has_test_folder
    test_contents = {digest for digest, test in zip(digests, tests, strict=True) if test}
    contents: dict[int, set[str]] = defaultdict(set)
    for label, digest in zip(labels, digests, strict=True):
        # An image that is also in the test folder must not be trained on.
        if digest not in test_contents:
            contents[label].add(digest)
    side = dict.fromkeys(test_contents, "test")
    for label in sorted(set(labels)):
        members = sorted(
            (digest for digest in contents[label] if digest not in side),
            key=lambda digest: hashlib.sha256(f"{seed}/{digest}".encode()).digest(),
        )
        tested = 0 if has_test_folder else int(TEST_SHARE * len(members) + 0.5)
        validated = int(VALIDATION_SHARE * (len(members) - tested) + 0.5)
        side |= dict.fromkeys(members[:tested], "test")
        side |= dict.fromkeys(members[tested : tested + validated], "validation")
        side |= dict.fromkeys(members[tested + validated :], "train")
    if "validation" not in side.values():
        side |= dict.fromkeys(_spare(labels, side, contents), "validation")

    def positions(name: str) -> Indices:
        chosen = [
            position
            for position, digest in enumerate(digests)
            if side[digest] == name and (name != "test" or not has_test_folder or tests[position])
        ]
        return np.asarray(chosen, dtype=np.int64)

    splits = Splits(positions("train"), positions("validation"), positions("test"))
    untrained = set(labels) - {labels[position] for position in splits.train}
    if untrained:
        first = min(untrained)
        name = repr(classes[first]) if first < len(classes) else f"number {first}"
        msg = f"class {name} has no image of its own to train on, only copies of test images: add different ones."
        raise BadDatasetError(msg)
    return splits


def _spare(labels: Sequence[int], side: dict[str, str], contents: dict[int, set[str]]) -> list[str]:
    """One training image of the largest class that can spare one, for validation."""
    trained = {label: sorted(d for d in contents[label] if side.get(d) == "train") for label in set(labels)}
    largest = max(sorted(trained), key=lambda label: len(trained[label]))
    if len(trained[largest]) < 2:
        msg = "no class has two different images: add images, so that some can be kept for validation."
        raise BadDatasetError(msg)
    return trained[largest][:1]
