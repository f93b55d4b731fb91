"""Regret of a zoo's first requests, with a warm-started predictor and with one that has learned nothing.

Run ``.venv/bin/python benchmarks/warm_start.py [--records FILE] [--seeds 6] [--json]``. Four times, every fourth
dataset is served (four time limits each) after a warm start from the others. Without a file the excerpt that the tests
use is taken. ``--pack OUT`` writes the records that the package warm-starts from instead.

Of the recorded runs those on the served datasets are left out; the small networks' runs are all learned. The learning
rates of candidates are drawn at random, since the recorded optimisers are not ours.

Kept are points of runs with a learning rate of at least 0.0005 (less hardly moves a network within the steps that
a short request has): a choice by what was set, never by what came of it. Three points a run, as iterations matter.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import csv
import json
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.packing import packed
from nasoa_runtime.architecture.structure import HEAD_ONLY
from nasoa_runtime.boundary import DatasetStatistics
from nasoa_runtime.documents.outcomes import ModelFacts, Outcome
from nasoa_runtime.online.candidates import Grid
from nasoa_runtime.online.description import Batch, Regimes, describe
from nasoa_runtime.online.features import FeatureTable
from nasoa_runtime.online.records import Curve, RecordedRun, read_curves
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.online.warm_start import COLUMNS, WarmRecord, read_small, record_of, taught

ROOT = Path(__file__).parents[1]
SIZES = Path(__file__).parent / "recorded_models.csv"
LEAST_RATE = 5e-4
TAUGHT = (1.0, 1 / 4, 1 / 16)
CANDIDATES = (1.0, 1 / 2, 1 / 4, 1 / 8)
BATCH = 32
FOLDS = 4
LIMITS = 4
REQUESTS = 16
SPREAD = 20.0
"""Standard deviation of images a class, which the records don't have: the typical one."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=Path, default=ROOT / "tests" / "golden" / "finetune_records.csv.gz")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--pack", type=Path)
    parser.add_argument("--sizes", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    curves = read_curves(arguments.records)
    if arguments.sizes:
        write_sizes({curve[0].model for curve in curves})
        return 0
    if arguments.pack:
        arguments.pack.write_bytes(packed(taught_rows(curves)))
        return 0
    makers: dict[str, Callable[[list[Curve], int], PredictorState]] = {
        "cold": lambda _, seed: PredictorState.new(seed=seed),
        "recorded": lambda others, seed: taught(lessons(others), [], seed=seed),
        "warm": lambda others, seed: taught(lessons(others), read_small(), seed=seed),
    }
    table = {name: measure(curves, make, arguments.seeds) for name, make in makers.items()}
    if arguments.json:
        print(json.dumps(table))
        return 0
    for name, figures in table.items():
        print(f"{name:8}" + "".join(f"  {key} {value:.3f}" for key, value in figures.items()))
    return 0


def points(curve: Curve, fractions: Sequence[float]) -> Curve:
    """The curve's points nearest to fractions of its length."""
    return [curve[index] for index in sorted({max(0, round(len(curve) * part) - 1) for part in fractions})]


def row_of(point: RecordedRun) -> dict[str, str]:
    """A point as the packaged file has it: iterations in batches of 32, the nearest number of stages, no rate."""
    parameters, macs = sizes()[point.model]
    values = {
        "source_accuracy": point.imagenet_top1 / 100,
        "parameters": parameters,
        "macs": macs,
        "classes": point.n_classes,
        "images_per_class": point.imgs_per_class,
        "iterations": max(1, round(point.iterations * point.batch_size / BATCH)),
        "frozen_stages": round(HEAD_ONLY * point.pct_to_freeze),
        "accuracy": point.best_acc,
    }
    return {name: f"{values[name]:.4g}" if name in values else "" for name in COLUMNS}


@cache
def sizes() -> dict[str, tuple[int, int]]:
    """Parameters and multiply-accumulates of the recorded models."""
    with SIZES.open(newline="") as stream:
        return {row["model"]: (int(row["parameters"]), int(row["macs"])) for row in csv.DictReader(stream)}


def write_sizes(models: Iterable[str]) -> None:
    """Build the models by timm, with random weights, and count."""
    import timm  # noqa: PLC0415 - takes seconds, and only counting needs it.

    from nasoa_runtime.pods.measure import complexity_of  # noqa: PLC0415

    with SIZES.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("model", "parameters", "macs"))
        for name in sorted(models):
            model = timm.create_model(name)
            image_size = model.pretrained_cfg["input_size"][-1]
            cost = complexity_of(model, image_size)
            writer.writerow((name, cost.parameters, cost.macs))


def lessons(curves: Sequence[Curve]) -> list[WarmRecord]:
    """What a warm start learns of ``curves``."""
    return [record_of(row) for row in taught_rows(curves)]


def taught_rows(curves: Sequence[Curve]) -> list[dict[str, str]]:
    """The rows of the packaged file that are of ``curves``."""
    kept = [curve for curve in curves if curve[0].lr >= LEAST_RATE]
    return [row_of(point) for curve in kept for point in points(curve, TAUGHT)]


def measure(curves: list[Curve], make: Callable[[list[Curve], int], PredictorState], seeds: int) -> dict[str, float]:
    """Means over folds and seeds of the regret and the accuracy of the first requests."""
    datasets = sorted({curve[0].dataset for curve in curves})
    served = []
    for fold in range(FOLDS):
        asked = set(datasets[fold::FOLDS])
        others = [curve for curve in curves if curve[0].dataset not in asked]
        requests = requests_of([curve for curve in curves if curve[0].dataset in asked])
        served += [serve(make(others, seed), requests, seed) for seed in range(seeds)]
    regret, accuracy = np.mean(served, axis=0).T
    counts = (1, 4, REQUESTS)
    return {f"regret of first {k}": float(regret[:k].mean()) for k in counts} | {
        f"accuracy of first {k}": float(accuracy[:k].mean()) for k in counts
    }


def requests_of(curves: Sequence[Curve]) -> list[Curve]:
    """For each dataset and time limit the candidates: every run as far as the limit reaches, and parts of it."""
    result = []
    for dataset in sorted({curve[0].dataset for curve in curves}):
        own = [curve for curve in curves if curve[0].dataset == dataset]
        shortest, longest = np.percentile([curve[-1].gpu_seconds for curve in own], (5, 95))
        for limit in np.geomspace(shortest, longest, LIMITS):
            reached = [[point for point in curve if point.gpu_seconds <= limit] for curve in own]
            result.append([point for part in reached if part for point in points(part, CANDIDATES)])
    return result


def serve(state: PredictorState, requests: Sequence[Curve], seed: int) -> list[tuple[float, float]]:
    """Choose, be charged, learn: (regret, accuracy) of the first requests in an order drawn from ``seed``."""
    random = np.random.default_rng((seed, 1))
    served = []
    for index in random.permutation(len(requests))[:REQUESTS]:
        candidates = requests[index]
        rates = random.choice(Grid().learning_rates, len(candidates))
        runs = described(state.encoder.table, candidates, rates)
        accuracies = np.array([point.best_acc for point in candidates])
        best = int(np.argmax(state.predict(runs)))
        span = np.ptp(accuracies)
        regret = (accuracies.max() - accuracies[best]) / span if span else 0.0
        served.append((float(regret), float(accuracies[best])))
        outcome = Outcome(description=runs.descriptions()[best], accuracy=float(accuracies[best]))
        state = state.update([outcome], f"request-{index}")
    return served


def described(table: FeatureTable, candidates: Curve, rates: np.ndarray[Any, np.dtype[np.float64]]) -> Batch:
    """Candidates as a zoo's predictor sees them: models have names there, the recorded rates say nothing."""
    records = [record_of(row_of(point)) for point in candidates]
    models = {
        point.model: ModelFacts(
            name=point.model,
            source="imagenet",
            source_accuracy=record.source_accuracy,
            parameters=record.parameters,
            macs=record.macs,
        )
        for point, record in zip(candidates, records, strict=True)
    }
    names = list(models)
    dataset = DatasetStatistics(
        digest="0" * 64,
        classes=records[0].classes,
        images=round(records[0].classes * records[0].images_per_class),
        validation_images=1,
        test_images=0,
        images_per_class_mean=records[0].images_per_class,
        images_per_class_std=SPREAD,
    )
    regimes = Regimes.of_columns(
        model=np.array([names.index(point.model) for point in candidates]),
        learning_rate=rates,
        frozen_stages=np.array([float(record.frozen_stages) for record in records]),
        iterations=np.array([float(record.iterations) for record in records]),
        batch_size=32,
    )
    return describe(table, tuple(models.values()), dataset, regimes)


if __name__ == "__main__":
    raise SystemExit(main())
