"""What the command line does with networks and images on this machine: the one module that reaches the pods' code.

That code needs the ``runtime`` extra, and torch takes seconds to import, so it is reached inside functions only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from nasoa_runtime.api.finetune import FineTuneRequestSpec
from nasoa_runtime.boundary import DatasetReference, DatasetStatistics, ProbeResult
from nasoa_runtime.cli.common import RefusedError
from nasoa_runtime.storage.imports import ImportedNetwork
from nasoa_runtime.storage.s3 import ObjectStore

ASSUMED_STARTUP_SECONDS = 15.0
"""From a pod's start to its first step, where nothing is known of the node: libraries, data and weights."""
ASSUMED_LOADING_SECONDS = 0.001
"""What a step waits for each image, where nothing is known of the node."""
READ_SIZE = 32
"""Pixels a side in which a local dataset is read: only its counts are asked for."""
RUNTIME_MODULES = frozenset({"PIL", "ot", "safetensors", "timm", "torch", "torchvision"})
"""What only the ``runtime`` extra installs."""


def prepare_weights(
    architecture: str,
    weights: Path,
    image_size: int,
    *,
    class_names: tuple[str, ...] = (),
    class_count: int | None = None,
    low_resolution_stem: bool = False,
    extractor: bool = False,
) -> ImportedNetwork:
    """Read weights and match them to an architecture; see :func:`nasoa_runtime.pods.importing.prepare`.

    Raises:
        RefusedError: the weights can't be read or are of another network, or the extra is not installed.
    """
    with _refusing():
        from nasoa_runtime.pods.importing import prepare  # noqa: PLC0415

        return prepare(
            architecture,
            weights,
            image_size,
            class_names=class_names,
            class_count=class_count,
            low_resolution_stem=low_resolution_stem,
            extractor=extractor,
        )


def probe(spec: FineTuneRequestSpec, folder: Path) -> ProbeResult:
    """Count the images in ``folder`` as a request's probe would; of the node, usual figures are assumed.

    Raises:
        RefusedError: the folder is no dataset, or the extra is not installed.
    """
    reference = DatasetReference(uri=str(folder.resolve()), seed=spec.seed, max_images=spec.dataset.max_images)
    with _refusing("--dataset: "), TemporaryDirectory() as work:
        from nasoa_runtime.pods.dataset.reading import read_dataset  # noqa: PLC0415

        read = read_dataset(reference, READ_SIZE, _no_store, Path(work))
        return ProbeResult(
            device=spec.device.record(),
            statistics=DatasetStatistics(
                digest=read.digest,
                classes=len(read.classes),
                images=len(read.splits.train),
                validation_images=len(read.splits.validation),
                test_images=len(read.splits.test),
                images_per_class_mean=float(np.mean(read.images_per_class)),
                images_per_class_std=float(np.std(read.images_per_class)),
            ),
            startup_seconds=ASSUMED_STARTUP_SECONDS,
            loading_seconds_per_image=ASSUMED_LOADING_SECONDS,
            step_correction=1.0,
            seconds=0.0,
        )


@contextmanager
def _refusing(option: str = "") -> Iterator[None]:
    """Turn what would end a pod into a refusal; ``option`` stands for the field of a spec that a pod would name."""
    from nasoa_runtime.pods.failures import BadInputError  # noqa: PLC0415

    try:
        yield
    except BadInputError as error:
        raise RefusedError(option + str(error).removeprefix("dataset.uri: ")) from error
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in RUNTIME_MODULES:
            raise
        msg = f"this needs nasoa's runtime extra, and {error.name} is not installed: pip install 'nasoa[runtime]'"
        raise RefusedError(msg) from error


def _no_store() -> ObjectStore:
    msg = "a local dataset is a folder"
    raise RefusedError(msg)
