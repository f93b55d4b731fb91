"""What a zoo's predictor knows before its first request: real runs from elsewhere.

A predictor that has learned nothing ranks candidates by accident. Packaged files teach it, described as a zoo's own
runs are (:mod:`nasoa_runtime.online.experience`):

- ``data/recorded_runs.csv.gz``: points of all 2,033 recorded fine-tuning runs of ImageNet models on sixteen datasets
  (Quick-Tune, BSD-3-Clause), with every column.
- ``data/small_runs.csv.gz`` and ``data/small_regimes.csv.gz`` (made by the benchmarks of these names): small networks
  from MNIST and Fashion-MNIST to other small datasets, run as the pods run them, by the paper's regimes and by
  practitioners'. They say how learning rate, frozen stages and iterations go together where models are small, what
  AdamW, averages and linear probes are worth there, and what a run reaches whose learning rate came down to its end.

``hedge`` takes half a minute to learn both, so what that gave for seed 0 is packaged too (``data/start.npz``, and its
trees beside it), made by ``benchmarks/start.py``. Whatever is fitted to a zoo's outcomes later is fitted to these
records as well.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from nasoa_runtime.boundary import DatasetStatistics, Regime
from nasoa_runtime.documents.outcomes import ModelFacts
from nasoa_runtime.online.algorithms import learned, load_predictor
from nasoa_runtime.online.description import Batch, describe
from nasoa_runtime.online.encoder import apply_transforms
from nasoa_runtime.online.experience import Experience
from nasoa_runtime.online.features import PAPER_FEATURES
from nasoa_runtime.online.forest import Forest, digest_of
from nasoa_runtime.online.hedged import ALGORITHM, Hedged
from nasoa_runtime.online.paper import PaperPredictor
from nasoa_runtime.online.records import open_text, read_curves
from nasoa_runtime.online.regimes import Regimes
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.online.state_bytes import load

WARM_START = "2,033 recorded runs and 862 runs of small networks"
"""What a state's ``warm_start`` says."""
DATA = Path(__file__).parent / "data"
RECORDED = DATA / "recorded_runs.csv.gz"
SMALL, SMALL_REGIMES = DATA / "small_runs.csv.gz", DATA / "small_regimes.csv.gz"
START, TREES = DATA / "start.npz", DATA / "start.trees.json.gz"
RECORDED_PASSES, SMALL_PASSES = 2, 8
"""How often the paper's predictors learn either: there are far fewer runs of small networks."""
SMALL_BATCH, SMALL_SIDE = 32, 32
"""Batch and image size of the runs of small networks."""
SMALL_WEIGHT_DECAY = "5e-4"
"""Of the first file's."""
SMALL_PARTS = (30, 80, 200, 600)
"""Most images a class of their datasets, of which 64 % were trained on."""


def warm_started(algorithm: str = ALGORITHM, seed: int = 0, models: Sequence[str] = ()) -> PredictorState:
    """A new zoo's predictor: it has learned the packaged records, and no request (version 0)."""
    return replace(_packaged(algorithm, seed).with_models(models), layout_version=0)


@cache
def packaged_trees() -> bytes:
    """The trees of the packaged start as they are stored."""
    return TREES.read_bytes()


@lru_cache(maxsize=1)
def packaged_experience() -> Experience:
    """All packaged records."""
    return Experience.concatenated([recorded_runs(), small_runs()])


def recorded_runs() -> Experience:
    """The packaged points of recorded runs."""
    return Experience.of_curves(read_curves(RECORDED))


def small_runs() -> Experience:
    """The packaged runs of small networks.

    No two are of one dataset, so those on datasets of one size count as one, within which they are put in order.
    """
    described, reached, sizes = [], [], []
    for row in (*_rows(SMALL), *_rows(SMALL_REGIMES)):
        classes, mean = int(row["classes"]), float(row["images_per_class"])
        dataset = DatasetStatistics(
            digest="0" * 64,
            classes=classes,
            images=max(1, round(classes * mean)),
            validation_images=1,
            test_images=0,
            images_per_class_mean=mean,
            images_per_class_std=0.0,
        )
        run = describe((_small_model(row),), dataset, Regimes.of((_small_regime(row),), SMALL_BATCH))
        # Nothing says how many images each class had.
        described.append(replace(run, values={**run.values, "images_per_class_std": np.array([np.nan])}))
        reached.append(float(row["accuracy"]))
        most = min(SMALL_PARTS, key=lambda part: abs(math.log(0.64 * part / mean)))
        sizes.append(f"small networks, {classes} classes of {most} images")
    runs = replace(Batch.concatenated(described), datasets=np.array(sizes, np.object_))
    count = len(reached)
    return Experience(
        runs,
        runs.datasets,
        np.arange(count),
        runs.values["iterations"],
        np.array(reached),
        np.ones(count),
        np.full(count, np.nan),
    )


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with open_text(path) as stream:
        yield from csv.DictReader(stream)


def _small_model(row: Mapping[str, str]) -> ModelFacts:
    return ModelFacts(
        name="small",
        source="small",
        source_accuracy=float(row["source_accuracy"]),
        parameters=int(row["parameters"]),
        macs=int(row["macs"]),
        family="encoding",
        image_size=SMALL_SIDE,
    )


def _small_regime(row: Mapping[str, str]) -> Regime:
    """How a run was trained; the first file has a column for what differed, and all of its runs were SGD."""
    fields = {name: row[name] for name in Regime.model_fields if name in row}
    fields.setdefault("steps", row.get("iterations", ""))
    fields.setdefault("weight_decay", SMALL_WEIGHT_DECAY)
    return Regime.model_validate({"model": "small", "step_seconds": 1.0, "predicted_accuracy": 0.0, **fields})


def taught(algorithm: str, seed: int, recorded: Experience, small: Experience) -> PaperPredictor:
    """A predictor of the paper's that has learned ends and starts of runs several times, shuffled by ``seed``.

    It is not told of the regularisers that ruin most recorded runs, so it learns only of runs without them; nor of the
    optimizer, so their learning rates are left out. What no record says must not be learned from them: such features
    start with weights of zero, as a new model's column does, and change no prediction until an outcome of the zoo
    itself shows otherwise. The models are none of the zoo's and get no column.
    """
    plain = (recorded.runs.values["drop"] == 0) & (recorded.runs.values["stochastic_norm"] == 0)
    usual = recorded.subset(plain)
    points = usual.spread(3)
    batch = usual.at(points)
    batch = replace(batch, values={**batch.values, "learning_rate": np.full(len(points), np.nan)})
    runs = Batch.concatenated([batch, small.runs])
    reached = np.concatenate([usual.reached[points], small.reached])
    numbers = np.arange(len(runs))
    passes = np.where(numbers < len(points), RECORDED_PASSES, SMALL_PASSES)
    order = np.random.default_rng(seed).permutation(np.repeat(numbers, passes))
    fresh = PaperPredictor.new(algorithm, seed)
    transformed = apply_transforms(tuple(replace(f, optional=True) for f in PAPER_FEATURES), runs)[order]
    # All are seen before the first is learned, and count as seen from then on: what the network has learned holds
    # in these coordinates, and requests must not move them from under it.
    encoder = fresh.encoder.observe(transformed)
    rows = encoder.encode_transformed(transformed, ("",), np.zeros(len(order), np.int64))
    unseen = {f.name for f, column in zip(PAPER_FEATURES, transformed.T, strict=True) if np.isnan(column).all()}
    silent = [column for column, name in enumerate(encoder.layout) if name.partition(":")[0] in unseen]
    rows[:, silent] = 0.0
    parameters = fresh.network.dump()
    parameters["first"][:, silent] = 0.0
    network = load_predictor(algorithm, parameters, encoder.width)
    for row, accuracy in zip(rows, reached[order], strict=True):
        network = learned(network, row, float(accuracy))
    return replace(fresh, encoder=encoder, network=network)


def packaged_forest(digest: str) -> Forest | None:
    """The packaged trees, if they are those with this digest."""
    return _forest() if digest == _digest() else None


@cache
def _digest() -> str:
    return digest_of(packaged_trees())


@cache
def _forest() -> Forest:
    return Forest.load(packaged_trees())


@lru_cache(maxsize=8)
def _packaged(algorithm: str, seed: int) -> PredictorState:
    if algorithm == ALGORITHM and seed == 0:
        return load(START.read_bytes(), lambda _: _forest())
    if algorithm == ALGORITHM:
        return PredictorState(Hedged.started(packaged_experience(), seed), warm_start=WARM_START)
    return PredictorState(taught(algorithm, seed, recorded_runs(), small_runs()), warm_start=WARM_START)
