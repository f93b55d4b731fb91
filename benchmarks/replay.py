"""Errors of the predictors on recorded outcomes, each predicted before it is learned.

Run ``.venv/bin/python benchmarks/replay.py [--records FILE] [--seeds 5] [--json]``. Without a file the excerpt that
the tests use is replayed. What the predictors' choices are worth is told by ``recorded_runs.py``.
"""

# ruff: noqa: E402 - numpy and torch read their environment when they are imported.

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
import numpy as np

from nasoa_runtime.online.algorithms import PREDICTORS
from nasoa_runtime.online.learners import DEFAULT
from nasoa_runtime.online.records import read_records
from nasoa_runtime.online.replay import replay

COLUMNS = ("mae", "mse", "20-40 mae", "80-100 mae", "update us")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=Path, default=ROOT / "tests" / "golden" / "finetune_records.csv.gz")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    table = {name: row(name, arguments.records, arguments.seeds) for name in (DEFAULT, *PREDICTORS)}
    table["mean so far"] = mean_so_far(arguments.records, arguments.seeds)
    if arguments.json:
        print(json.dumps(table))
        return 0
    print(f"{arguments.seeds} seeds, {len(read_records(arguments.records, final_only=True))} outcomes")
    print(f"{'':14}" + "".join(f"{column:>12}" for column in COLUMNS))
    for name, figures in table.items():
        cells = (f"{figures[column]:12.4f}" if column in figures else f"{'-':>12}" for column in COLUMNS)
        print(f"{name:14}" + "".join(cells))
    return 0


def row(name: str, records: Path, seeds: int) -> dict[str, float]:
    """Figures of one predictor, means over the seeds."""
    errors = [replay(records, algorithm=name, seed=seed) for seed in range(seeds)]
    return {
        "mae": float(np.mean([one["mae"] for one in errors])),
        "mse": float(np.mean([one["mse"] for one in errors])),
        "20-40 mae": float(np.mean([one["segments"]["20-40"]["mae"] for one in errors])),
        "80-100 mae": float(np.mean([one["segments"]["80-100"]["mae"] for one in errors])),
        "update us": float(np.mean([one["update_us"] for one in errors])),
    }


def mean_so_far(records: Path, seeds: int) -> dict[str, float]:
    """What predicting the mean of all earlier accuracies would give: the floor that any predictor must pass."""
    accuracies = np.array([run.acc for run in read_records(records, final_only=True)])
    errors = []
    for seed in range(seeds):
        stream = accuracies[np.random.default_rng(seed).permutation(len(accuracies))]
        predicted = np.concatenate([[0.3], np.cumsum(stream)[:-1] / np.arange(1, len(stream))])
        errors.append(np.abs(predicted - stream))
    stacked, count = np.array(errors), len(accuracies)
    return {
        "mae": float(stacked.mean()),
        "mse": float((stacked**2).mean()),
        "20-40 mae": float(stacked[:, int(0.2 * count) : int(0.4 * count)].mean()),
        "80-100 mae": float(stacked[:, int(0.8 * count) :].mean()),
    }


if __name__ == "__main__":
    raise SystemExit(main())
