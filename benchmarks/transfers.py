"""Regret of a zoo's first requests among real transfers of small networks that no warm start has learned.

Run ``.venv/bin/python benchmarks/transfers.py [--seeds 8] [--json]``. A request offers sixteen recorded runs on one
dataset; the one that is predicted best is taken, charged its regret, and learned. ``--make OUT [--runs 200]`` records
the runs anew, half an hour on one core: two encoded networks, trained on 6,000 images of Fashion-MNIST, then
fine-tuned by the runtime's own loop on five other datasets, with regimes drawn from a fixed seed.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.packing import packed
from nasoa_runtime.architecture.structure import FROZEN_STAGES
from nasoa_runtime.boundary import DatasetStatistics
from nasoa_runtime.documents.outcomes import ModelFacts, Outcome
from nasoa_runtime.online.candidates import Grid
from nasoa_runtime.online.description import Batch, Regimes, describe
from nasoa_runtime.online.features import REQUEST_FEATURES
from nasoa_runtime.online.records import open_text
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.online.warm_start import read_recorded, read_small, taught, warm_started

RUNS = Path(__file__).parent / "transfers.csv.gz"
DATASETS = ("digits", "mnist", "even-digits", "emoji-twitter", "emoji-kinds")
NETWORKS = ("2-_8_1-12-1-2", "031-_8_1-12-1-2")
REQUESTS, OFFERED, STREAMS = 20, 16, 5
PARTS = {"1": slice(0, 1), "1-4": slice(0, 4), "5-10": slice(4, 10), "11-20": slice(10, 20)}
SOURCE_IMAGES, SOURCE_STEPS = 6000, 400
STEPS = (20, 50, 120, 300, 1000, 3000)
Transfer = tuple[str, Outcome]
"""A dataset's name, and a run on it."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--make", type=Path)
    parser.add_argument("--runs", type=int, default=200)
    arguments = parser.parse_args()
    if arguments.make:
        make(arguments.make, arguments.runs)
        return 0
    transfers = read(RUNS)
    starts: dict[str, Callable[[int], PredictorState | None]] = {
        "random choice": lambda _: None,
        "learned nothing": lambda seed: PredictorState.new(seed=seed),
        "recorded runs": lambda seed: taught(read_recorded(), [], seed=seed),
        "small runs": lambda seed: taught([], read_small(), seed=seed),
        "as packaged": lambda seed: warm_started(seed=seed),
    }
    table = {name: measure(transfers, start, arguments.seeds) for name, start in starts.items()}
    if arguments.json:
        print(json.dumps(table))
        return 0
    print(f"{len(transfers)} runs, regret of requests number")
    for name, figures in table.items():
        print(f"{name:16}" + "".join(f"  {part} {value:.3f}" for part, value in figures.items()))
    return 0


def read(path: Path) -> list[Transfer]:
    """The recorded transfers."""
    with open_text(path) as stream:
        return [_transfer(row) for row in csv.DictReader(stream)]


def _transfer(row: dict[str, str]) -> Transfer:
    facts = ModelFacts(
        name=row["model"],
        source="fashion",
        source_accuracy=float(row["source_accuracy"]),
        parameters=int(row["parameters"]),
        macs=int(row["macs"]),
    )
    classes, mean = int(row["classes"]), float(row["images_per_class_mean"])
    dataset = DatasetStatistics(
        digest="0" * 64,
        classes=classes,
        images=round(classes * mean),
        validation_images=1,
        test_images=0,
        images_per_class_mean=mean,
        images_per_class_std=float(row["images_per_class_std"]),
    )
    regime = Regimes.of_columns(
        np.zeros(1, np.int64),
        np.array([float(row["learning_rate"])]),
        np.array([float(row["frozen_stages"])]),
        np.array([float(row["iterations"])]),
        batch_size=32,
    )
    (description,) = describe(REQUEST_FEATURES, (facts,), dataset, regime).descriptions()
    return row["dataset"], Outcome(description=description, accuracy=float(row["accuracy"]))


def measure(transfers: list[Transfer], start: Callable[[int], PredictorState | None], seeds: int) -> dict[str, float]:
    """Mean regret by the request's number, over seeds and streams of requests."""
    first = {seed: start(seed) for seed in range(seeds)}
    streams = [serve(transfers, first[seed], (seed, stream)) for seed in first for stream in range(STREAMS)]
    regret = np.mean(streams, axis=0)
    return {part: float(regret[numbers].mean()) for part, numbers in PARTS.items()}


def serve(transfers: list[Transfer], state: PredictorState | None, seed: tuple[int, int]) -> list[float]:
    """Regret of each request of one stream; without a predictor the choice is random."""
    random = np.random.default_rng(seed)
    of_dataset = [[outcome for name, outcome in transfers if name == dataset] for dataset in DATASETS]
    regrets = []
    for request in range(REQUESTS):
        known = of_dataset[random.integers(len(of_dataset))]
        offered = [known[index] for index in random.choice(len(known), OFFERED, replace=False)]
        accuracies = np.array([outcome.accuracy for outcome in offered])
        if state is None:
            chosen = int(random.integers(OFFERED))
        else:
            runs = Batch.of([outcome.description for outcome in offered], state.encoder.table)
            chosen = int(np.argmax(state.predict(runs)))
            state = state.update([offered[chosen]], f"request-{request}")
        regrets.append(float((accuracies.max() - accuracies[chosen]) / np.ptp(accuracies)))
    return regrets


def make(path: Path, runs: int) -> None:
    """Train and fine-tune the networks, writing each run as it ends."""
    import torch  # noqa: PLC0415 - takes seconds, and only recording needs it.

    from benchmarks.small_networks import Images, fine_tune, pretrain  # noqa: PLC0415
    from demo.datasets import SOURCES, fashion  # noqa: PLC0415

    torch.set_num_threads(1)
    source = Images.of(fashion(SOURCE_IMAGES))
    seen, held = source[torch.arange(SOURCE_IMAGES)], source[torch.arange(SOURCE_IMAGES, len(source))]
    networks = [pretrain(architecture, seen, held, SOURCE_STEPS, True) for architecture in NETWORKS]
    data = {name: Images.of(SOURCES[name]()).split(0.64, 0) for name in DATASETS}
    rows: list[dict[str, Any]] = []
    for run in range(runs):
        random = np.random.default_rng((1, run))
        name = DATASETS[run % len(DATASETS)]
        network = networks[random.integers(len(networks))]
        rate, frozen = float(random.choice(Grid().learning_rates)), int(random.choice(FROZEN_STAGES))
        steps = int(random.choice(STEPS))
        counts = data[name][0].counts
        reached = fine_tune(network, *data[name], rate, frozen, steps, run)
        rows.append(
            {
                "dataset": name,
                "model": network.architecture,
                "classes": len(counts),
                "images_per_class_mean": float(counts.mean()),
                "images_per_class_std": float(counts.std()),
                "iterations": steps,
                "learning_rate": rate,
                "frozen_stages": frozen,
                "source_accuracy": network.source_accuracy,
                "parameters": network.size.parameters,
                "macs": network.size.macs,
                "accuracy": reached,
            }
        )
        path.write_bytes(packed(rows))


if __name__ == "__main__":
    raise SystemExit(main())
