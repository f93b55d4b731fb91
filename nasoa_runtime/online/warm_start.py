"""What a zoo's predictor knows before its first request: real outcomes from elsewhere, learned in the ordinary way.

A network that has learned nothing ranks candidates by accident. The packaged records (``data/quick_tune.csv.gz``, made
by ``benchmarks/warm_start.py --pack``) are points of recorded fine-tuning runs on sixteen datasets. They say how
accuracy depends on iterations, classes, images a class, frozen stages and the source model's accuracy.

What they don't say must not be learned from them. Quantities that no record has start with weights of zero, as a new
model's column does: until an outcome of the zoo itself shows otherwise, they change no prediction. The learning rate is
one of them, for the records' optimisers are not ours. Their models are none of the zoo's and get no column.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from nasoa_runtime.online.features import Batch, RunDescription
from nasoa_runtime.online.predictor import learned, load_predictor
from nasoa_runtime.online.replay import open_text
from nasoa_runtime.online.state import PredictorState

WARM_START = "quick-tune"
"""What a state's ``warm_start`` says."""
RECORDS = Path(__file__).parent / "data" / "quick_tune.csv.gz"
COLUMNS = ("imagenet_top1", "n_classes", "imgs_per_class", "iterations", "pct_to_freeze", "best_acc")
"""Of the packaged file; ``iterations`` are of 32 images."""
STAGES = 5
_UNKNOWN = ("parameters", "macs", "domain_similarity", "images_per_class_std", "learning_rate")


@dataclass(frozen=True)
class WarmRecord:
    """A point of a recorded run; accuracies in [0, 1]."""

    source_accuracy: float
    classes: int
    images_per_class: float
    iterations: float
    frozen_stages: int
    accuracy: float


def warm_started(algorithm: str = "adaptive-mlp", seed: int = 0, models: Sequence[str] = ()) -> PredictorState:
    """A new zoo's predictor: it has learned the packaged records, and no request (version 0).

    Computed once a process for each algorithm and seed, in less than half a second; equal arguments give equal bytes.
    """
    return replace(_packaged(algorithm, seed).with_models(models), layout_version=0)


def taught(records: Sequence[WarmRecord], algorithm: str = "adaptive-mlp", seed: int = 0) -> PredictorState:
    """A new predictor that has learned ``records``, in an order drawn from ``seed``."""
    fresh = PredictorState.new(algorithm, seed)
    random = np.random.default_rng(seed)
    runs = [
        RunDescription(
            model="",
            classes=record.classes,
            images_per_class_mean=record.images_per_class,
            images_per_class_std=0.0,
            iterations=max(1, round(record.iterations)),
            learning_rate=1.0,
            frozen_stages=record.frozen_stages,
            source_accuracy=record.source_accuracy,
        )
        for record in records
    ]
    batch = Batch.of(runs, fresh.encoder.table)
    # What stands above for an unknown quantity is never seen: it becomes a missing one here.
    transformed = fresh.encoder.transform(batch)
    names = [quantity.name for quantity in fresh.encoder.table]
    transformed[:, [names.index(name) for name in _UNKNOWN]] = np.nan
    # All are seen before the first is learned, and count as seen from then on: what the network has learned holds
    # in these coordinates, and requests must not move them from under it.
    encoder = fresh.encoder.observe(transformed)
    rows = encoder.encode_transformed(transformed, batch.models, batch.model_index)
    silent = [column for column, name in enumerate(encoder.layout) if name.partition(":")[0] in _UNKNOWN]
    rows[:, silent] = 0.0
    parameters = fresh.network.dump()
    parameters["first"][:, silent] = 0.0
    network = load_predictor(algorithm, parameters, encoder.width)
    for index in random.permutation(len(records)):
        network = learned(network, rows[index], records[index].accuracy)
    return replace(fresh, encoder=encoder, network=network, warm_start=WARM_START)


def read_packaged(path: Path = RECORDS) -> list[WarmRecord]:
    """The packaged records."""
    with open_text(path) as stream:
        return [record_of(row) for row in csv.DictReader(stream)]


def record_of(row: dict[str, str]) -> WarmRecord:
    """A row of the packaged file. Shares of frozen layers become the nearest number of stages."""
    return WarmRecord(
        source_accuracy=float(row["imagenet_top1"]) / 100,
        classes=round(float(row["n_classes"])),
        images_per_class=float(row["imgs_per_class"]),
        iterations=float(row["iterations"]),
        frozen_stages=round(STAGES * float(row["pct_to_freeze"])),
        accuracy=float(row["best_acc"]),
    )


@lru_cache(maxsize=8)
def _packaged(algorithm: str, seed: int) -> PredictorState:
    return taught(read_packaged(), algorithm, seed)
