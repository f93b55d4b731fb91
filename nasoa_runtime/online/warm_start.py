"""What a zoo's predictor knows before its first request: real outcomes from elsewhere, learned in the ordinary way.

A network that has learned nothing ranks candidates by accident. Two packaged files teach it:

- ``data/quick_tune.csv.gz`` (made by ``benchmarks/warm_start.py --pack``): points of recorded fine-tuning runs of
  ImageNet models on sixteen datasets. Their optimisers are not ours, so their learning rates are left out.
- ``data/small_runs.csv.gz`` (made by ``benchmarks/small_runs.py``): small networks from MNIST and Fashion-MNIST to
  other small datasets, by our optimiser. They say how learning rate, frozen stages and iterations go together where
  models are small.

The models' sizes tell the two apart, and how far a zoo's own models are from either.

What neither says must not be learned from them: quantities without a value start with weights of zero, as a new model's
column does, and change no prediction until an outcome of the zoo itself shows otherwise. The models are none of the
zoo's and get no column.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.features import Batch, Encoder, RunDescription
from nasoa_runtime.online.predictor import learned, load_predictor
from nasoa_runtime.online.replay import open_text
from nasoa_runtime.online.state import PredictorState

WARM_START = "quick-tune and small runs"
"""What a state's ``warm_start`` says."""
DATA = Path(__file__).parent / "data"
RECORDED_PASSES, SMALL_PASSES = 2, 8
"""How often either is learned: there are far fewer runs of small networks."""
_UNSEEN = ("domain_similarity", "images_per_class_std")
"""What no record has."""


@dataclass(frozen=True)
class WarmRecord:
    """A run, or a point of one; its fields are the files' columns. Accuracies in [0, 1]."""

    source_accuracy: float
    parameters: int
    macs: int
    classes: int
    images_per_class: float
    iterations: int
    """Of 32 images."""
    learning_rate: float
    """NaN where it is of another optimiser than ours."""
    frozen_stages: int
    accuracy: float


COLUMNS = tuple(field.name for field in fields(WarmRecord))


def warm_started(algorithm: str = "adaptive-mlp", seed: int = 0, models: Sequence[str] = ()) -> PredictorState:
    """A new zoo's predictor: it has learned the packaged records, and no request (version 0).

    Computed once a process for each algorithm and seed, in one to two seconds; equal arguments give equal bytes.
    """
    return replace(_packaged(algorithm, seed).with_models(models), layout_version=0)


def taught(
    recorded: Sequence[WarmRecord], small: Sequence[WarmRecord], algorithm: str = "adaptive-mlp", seed: int = 0
) -> PredictorState:
    """A new predictor that has learned ``recorded`` and ``small`` several times, shuffled together by ``seed``."""
    known = [*(RECORDED_PASSES * list(recorded)), *(SMALL_PASSES * list(small))]
    order = [known[index] for index in np.random.default_rng(seed).permutation(len(known))]
    fresh = PredictorState.new(algorithm, seed)
    transformed, batch = _transformed(order, fresh.encoder)
    # All are seen before the first is learned, and count as seen from then on: what the network has learned holds
    # in these coordinates, and requests must not move them from under it.
    encoder = fresh.encoder.observe(transformed)
    rows = encoder.encode_transformed(transformed, batch.models, batch.model_index)
    silent = [column for column, name in enumerate(encoder.layout) if name.partition(":")[0] in _UNSEEN]
    rows[:, silent] = 0.0
    parameters = fresh.network.dump()
    parameters["first"][:, silent] = 0.0
    network = load_predictor(algorithm, parameters, encoder.width)
    for row, record in zip(rows, order, strict=True):
        network = learned(network, row, record.accuracy)
    return replace(fresh, encoder=encoder, network=network, warm_start=WARM_START)


def _transformed(records: Sequence[WarmRecord], encoder: Encoder) -> tuple[NDArray[np.float64], Batch]:
    """The records' quantities after their transforms, NaN where unknown, optional or not."""
    runs = [
        RunDescription(
            model="",
            classes=record.classes,
            images_per_class_mean=record.images_per_class,
            images_per_class_std=0.0,
            iterations=record.iterations,
            learning_rate=1.0 if math.isnan(record.learning_rate) else record.learning_rate,
            frozen_stages=record.frozen_stages,
            source_accuracy=record.source_accuracy,
            parameters=record.parameters,
            macs=record.macs,
        )
        for record in records
    ]
    batch = Batch.of(runs, encoder.table)
    transformed = encoder.transform(batch)
    names = [quantity.name for quantity in encoder.table]
    transformed[:, [names.index(name) for name in _UNSEEN]] = np.nan
    unknown = [math.isnan(record.learning_rate) for record in records]
    transformed[unknown, names.index("learning_rate")] = np.nan
    return transformed, batch


def read_recorded() -> list[WarmRecord]:
    """The packaged points of recorded runs."""
    return read(DATA / "quick_tune.csv.gz")


def read_small() -> list[WarmRecord]:
    """The packaged runs of small networks."""
    return read(DATA / "small_runs.csv.gz")


def read(path: Path) -> list[WarmRecord]:
    """A file of records."""
    with open_text(path) as stream:
        return [record_of(row) for row in csv.DictReader(stream)]


def record_of(row: Mapping[str, str]) -> WarmRecord:
    """A row of a file."""
    numbers: dict[str, Any] = {name: float(row[name] or "nan") for name in COLUMNS}
    whole = {name: round(numbers[name]) for name in ("parameters", "macs", "classes", "iterations", "frozen_stages")}
    return WarmRecord(**(numbers | whole))


@lru_cache(maxsize=8)
def _packaged(algorithm: str, seed: int) -> PredictorState:
    return taught(read_recorded(), read_small(), algorithm, seed)
