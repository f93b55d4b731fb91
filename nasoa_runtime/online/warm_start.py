"""What a zoo's predictor knows before its first request: real outcomes from elsewhere, learned in the ordinary way.

A network that has learned nothing ranks candidates by accident. Two packaged files teach it:

- ``data/quick_tune.csv.gz`` (made by ``benchmarks/warm_start.py --pack``): points of recorded fine-tuning runs of
  ImageNet models on sixteen datasets. Their optimisers are not ours, so their learning rates are left out.
- ``data/small_runs.csv.gz`` (made by ``benchmarks/small_runs.py``): small networks from MNIST and Fashion-MNIST to
  other small datasets, by our optimiser. They say how learning rate, frozen stages and iterations go together where
  models are small.

The models' sizes tell the two apart, and how far a zoo's own models are from either.

What neither says must not be learned from them: features that no record has start with weights of zero, as a new
model's column does, and change no prediction until an outcome of the zoo itself shows otherwise. The models are none of
the zoo's and get no column.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from nasoa_runtime.online.algorithms import learned, load_predictor
from nasoa_runtime.online.description import describe_rows
from nasoa_runtime.online.encoder import apply_transforms
from nasoa_runtime.online.features import REQUEST_FEATURES, FeatureTable, of_rows
from nasoa_runtime.online.records import open_text
from nasoa_runtime.online.state import PredictorState

WARM_START = "quick-tune and small runs"
"""What a state's ``warm_start`` says."""
DATA = Path(__file__).parent / "data"
RECORDED_PASSES, SMALL_PASSES = 2, 8
"""How often either is learned: there are far fewer runs of small networks."""


@dataclass(frozen=True)
class WarmRecord:
    """A run, or a point of one; its fields are the files' columns. Accuracies in [0, 1]."""

    source_accuracy: float
    parameters: int
    macs: int
    classes: int
    images_per_class: float
    iterations: int
    """Steps of 32 images."""
    learning_rate: float
    """NaN where it is of another optimiser than ours."""
    frozen_stages: int
    accuracy: float

    @property
    def model(self) -> str:
        """None of the zoo's, so it gets no column."""
        return ""


COLUMNS = tuple(field.name for field in fields(WarmRecord))


def warm_started(algorithm: str = "adaptive-mlp", seed: int = 0, models: Sequence[str] = ()) -> PredictorState:
    """A new zoo's predictor: it has learned the packaged records, and no request (version 0).

    Computed once a process for each algorithm and seed, in one to two seconds; equal arguments give equal bytes.
    """
    return replace(_packaged(algorithm, seed).with_models(models), layout_version=0)


def taught(
    recorded: Sequence[WarmRecord],
    small: Sequence[WarmRecord],
    algorithm: str = "adaptive-mlp",
    seed: int = 0,
    table: FeatureTable = REQUEST_FEATURES,
) -> PredictorState:
    """A new predictor that has learned ``recorded`` and ``small`` several times, shuffled together by ``seed``."""
    known = [*(RECORDED_PASSES * list(recorded)), *(SMALL_PASSES * list(small))]
    order = [known[index] for index in np.random.default_rng(seed).permutation(len(known))]
    fresh = PredictorState.new(algorithm, seed, table)
    recorded_table = of_rows(table, _column)
    batch = describe_rows(recorded_table, order)
    transformed = apply_transforms(recorded_table, batch)
    # All are seen before the first is learned, and count as seen from then on: what the network has learned holds
    # in these coordinates, and requests must not move them from under it.
    encoder = fresh.encoder.observe(transformed)
    rows = encoder.encode_transformed(transformed, batch.models, batch.model_index)
    unseen = {feature.name for feature in table if _column(feature.name) is None}
    silent = [column for column, name in enumerate(encoder.layout) if name.partition(":")[0] in unseen]
    rows[:, silent] = 0.0
    parameters = fresh.network.dump()
    parameters["first"][:, silent] = 0.0
    network = load_predictor(algorithm, parameters, encoder.width)
    for row, record in zip(rows, order, strict=True):
        network = learned(network, row, record.accuracy)
    return replace(fresh, encoder=encoder, network=network, warm_start=WARM_START)


def _column(feature: str) -> str | None:
    """The files' column that has a feature's value; ``None`` where no record says anything of it."""
    column = {"images_per_class_mean": "images_per_class"}.get(feature, feature)
    return column if column in COLUMNS else None


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
