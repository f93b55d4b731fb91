"""Errors of the predictors on recorded outcomes, each predicted before it is learned, beside regressors refit to them.

Run ``.venv/bin/python benchmarks/replay.py [--records FILE] [--seeds 2] [--keep FOLDER] [--json]``. The peers see every
column that is known before a run, as ``hedge`` does, and are fitted to all outcomes so far at every hundredth; before
the first fit they predict the mean so far. Without a file the excerpt that the tests use is replayed. With ``--keep``
rows are written to a folder and not computed again. What the predictors' choices are worth is told by
``recorded_runs.py``.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.intervals import ratio
from benchmarks.kept import Kept
from nasoa_runtime.online.algorithms import PREDICTORS
from nasoa_runtime.online.learners import DEFAULT, make_learner
from nasoa_runtime.online.predictor import as_accuracies
from nasoa_runtime.online.records import RecordedRun, read_records

ROOT = Path(__file__).parents[1]
COLUMNS = ("mae", "mse", "20-40 mae", "80-100 mae", "update us")
REFIT = 100
"""Outcomes between two fits of a peer."""
Floats = NDArray[np.float64]
Row = dict[str, Any]
"""Figures of one order: :data:`COLUMNS`, and ``squared``, the mean squared error on each dataset."""
Predicted = tuple[Floats, float | None]
"""Predictions in the stream's order, and median microseconds of an update."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=Path, default=ROOT / "tests" / "golden" / "finetune_records.csv.gz")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    runs, kept = read_records(arguments.records, final_only=True), Kept.of(arguments.keep, arguments.records)
    table: dict[str, list[Row]] = {}
    for name, predict in predictors().items():
        ours = "product-" if name in OURS else ""
        for seed in range(arguments.seeds):
            file = f"{ours}replay-{name.replace(' ', '-')}-seed-{seed}"
            table.setdefault(name, []).append(kept.figures(file, partial(row, predict, runs, seed)))
    if arguments.json:
        print(json.dumps(table))
    else:
        report(table, len(runs))
    return 0


OURS = (DEFAULT, *PREDICTORS)


def predictors() -> dict[str, Callable[[Sequence[RecordedRun], int], Predicted]]:
    """All that are compared, by name: from a stream and a seed to predictions."""
    from benchmarks.regressors import REGRESSORS  # noqa: PLC0415 - scikit-learn takes seconds.

    ours = {name: partial(learned, name) for name in OURS}
    peers = {name: partial(refitted, fit) for name, fit in REGRESSORS.items()}
    return {**ours, **peers, "mean so far": mean_so_far}


def row(predict: Callable[[Sequence[RecordedRun], int], Predicted], runs: Sequence[RecordedRun], seed: int) -> Row:
    """Figures on the stream that ``seed`` shuffles."""
    stream = [runs[index] for index in np.random.default_rng(seed).permutation(len(runs))]
    predicted, microseconds = predict(stream, seed)
    errors = as_accuracies(predicted) - np.array([run.acc for run in stream])
    squares: dict[str, list[float]] = {}
    for run, error in zip(stream, errors, strict=True):
        squares.setdefault(run.dataset, []).append(float(error**2))
    count = len(errors)
    return {
        "mae": float(np.abs(errors).mean()),
        "mse": float((errors**2).mean()),
        "20-40 mae": float(np.abs(errors[int(0.2 * count) : int(0.4 * count)]).mean()),
        "80-100 mae": float(np.abs(errors[int(0.8 * count) :]).mean()),
        "update us": microseconds,
        "squared": {dataset: float(np.mean(of)) for dataset, of in sorted(squares.items())},
    }


def learned(name: str, stream: Sequence[RecordedRun], seed: int) -> Predicted:
    """One of the product's predictors, which learns each outcome before the next."""
    learner = make_learner(name, seed)
    predicted, seconds = np.empty(len(stream)), np.empty(len(stream))
    for index, run in enumerate(stream):
        predicted[index] = learner.predict([run])[0]
        started = time.perf_counter()
        learner.learn([[run]])
        seconds[index] = time.perf_counter() - started
    return predicted, float(np.median(seconds) * 1e6)


def refitted(fit: Any, stream: Sequence[RecordedRun], seed: int) -> Predicted:
    """A regressor that is fitted anew at every hundredth outcome."""
    predicted, _ = mean_so_far(stream[:REFIT], seed)
    parts = [predicted]
    for start in range(REFIT, len(stream), REFIT):
        model = fit(stream[:start], np.array([run.acc for run in stream[:start]]), seed)
        parts.append(model(stream[start : start + REFIT]))
    return np.concatenate(parts), None


def mean_so_far(stream: Sequence[RecordedRun], seed: int) -> Predicted:
    """The mean of all earlier accuracies: the floor that any predictor must pass."""
    del seed
    accuracies = np.array([run.acc for run in stream])
    return np.concatenate([[0.3], np.cumsum(accuracies)[:-1] / np.arange(1, len(accuracies))]), None


def report(table: dict[str, list[Row]], count: int) -> None:
    """Print means over seeds, and what errors are of the paper's and of the best peer's."""
    seeds = len(next(iter(table.values())))
    print(f"{seeds} seeds, {count} outcomes")
    print(f"{'':22}" + "".join(f"{column:>12}" for column in COLUMNS))
    for name, rows in table.items():
        given = [column for column in COLUMNS if rows[0][column] is not None]
        figures = {column: float(np.mean([one[column] for one in rows])) for column in given}
        print(f"{name:22}" + "".join(f"{figures[c]:12.4f}" if c in figures else f"{'-':>12}" for c in COLUMNS))
    print(f"\nsquared error of {DEFAULT} over that of")
    for name, rows in table.items():
        if name != DEFAULT:
            print(f"{name:22}{ratio(by_dataset(table[DEFAULT]), by_dataset(rows))}")


def by_dataset(rows: Sequence[Row]) -> dict[str, list[float]]:
    """Mean squared errors of all seeds, by dataset."""
    return {dataset: [one["squared"][dataset] for one in rows] for dataset in rows[0]["squared"]}


if __name__ == "__main__":
    raise SystemExit(main())
