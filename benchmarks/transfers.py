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
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.packing import packed
from nasoa_runtime.architecture.structure import FROZEN_STAGES
from nasoa_runtime.boundary import DatasetStatistics, digest
from nasoa_runtime.documents.outcomes import ModelFacts, Outcome, OutcomeRecord
from nasoa_runtime.online.candidates import Grid
from nasoa_runtime.online.description import Batch, describe
from nasoa_runtime.online.hedged import Hedged
from nasoa_runtime.online.records import open_text
from nasoa_runtime.online.regimes import Regimes
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.online.warm_start import SMALL_BATCH, SMALL_SIDE, recorded_runs, warm_started

RUNS = Path(__file__).parent / "transfers.csv.gz"
DATASETS = ("digits", "mnist", "even-digits", "emoji-twitter", "emoji-kinds")
NETWORKS = ("2-_8_1-12-1-2", "031-_8_1-12-1-2")
REQUESTS, OFFERED, STREAMS = 20, 16, 5
PARTS = {"1": slice(0, 1), "1-4": slice(0, 4), "5-10": slice(4, 10), "11-20": slice(10, 20)}
SOURCE_IMAGES, SOURCE_STEPS = 6000, 400
MOST_FROZEN = 2
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
    starts: dict[str, tuple[Callable[[int], PredictorState | None], bool]] = {
        "random choice": (lambda _: None, False),
        "most steps x rate": (lambda _: None, True),
        "adaptive-mlp, learned nothing": (lambda seed: PredictorState.new("adaptive-mlp", seed), True),
        "adaptive-mlp as packaged": (lambda seed: warm_started("adaptive-mlp", seed), True),
        "the same, learning off": (lambda seed: warm_started("adaptive-mlp", seed), False),
        "hedge, recorded runs alone": (lambda _: recorded_alone(), True),
        "hedge as packaged (seed 0)": (lambda _: warm_started(), True),
        "the same, learning off ": (lambda _: warm_started(), False),
    }
    table = {name: measure(transfers, *start, arguments.seeds) for name, start in starts.items()}
    if arguments.json:
        print(json.dumps(table))
        return 0
    print(f"{len(transfers)} runs, regret of requests number, and the error of what was predicted of the choices")
    for name, figures in table.items():
        print(f"{name:32}" + "".join(f"  {part} {value:.3f}" for part, value in figures.items()))
    return 0


@cache
def recorded_alone() -> PredictorState:
    """A predictor that has learned no run of a small network."""
    return PredictorState(Hedged.started(recorded_runs(), seed=0))


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
        known_as=row["model"],
        family="encoding",
        image_size=SMALL_SIDE,
    )
    classes, mean = int(row["classes"]), float(row["images_per_class_mean"])
    dataset = DatasetStatistics(
        digest=digest(row["dataset"].encode()),
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
        batch_size=SMALL_BATCH,
        weight_decay=5e-4,
    )
    (description,) = describe((facts,), dataset, regime).descriptions()
    return row["dataset"], Outcome(description=description, accuracy=float(row["accuracy"]))


def measure(
    transfers: list[Transfer], start: Callable[[int], PredictorState | None], learns: bool, seeds: int
) -> dict[str, float]:
    """Mean regret by the request's number, over seeds and streams of requests, and the mean absolute error."""
    first = {seed: start(seed) for seed in range(seeds)}
    streams = [serve(transfers, first[seed], (seed, stream), learns) for seed in first for stream in range(STREAMS)]
    regret, error = np.mean(streams, axis=0).T
    return {part: float(regret[numbers].mean()) for part, numbers in PARTS.items()} | {
        f"error {part}": float(error[numbers].mean()) for part, numbers in PARTS.items()
    }


def serve(
    transfers: list[Transfer], state: PredictorState | None, seed: tuple[int, int], learns: bool
) -> list[tuple[float, float]]:
    """Regret of each request of one stream, and how far its choice was off what was predicted.

    Without a predictor the choice is random, or with ``learns`` the run with the most steps times the learning rate
    among those that freeze at most two stages, as somebody might choose who knows nothing else.
    """
    random = np.random.default_rng(seed)
    of_dataset = [[outcome for name, outcome in transfers if name == dataset] for dataset in DATASETS]
    served = []
    for request in range(REQUESTS):
        which = int(random.integers(len(of_dataset)))
        known = of_dataset[which]
        offered = [known[index] for index in random.choice(len(known), OFFERED, replace=False)]
        accuracies = np.array([outcome.accuracy for outcome in offered])
        identity = digest(DATASETS[which].encode())
        error = float("nan")
        if state is None:
            chosen = (
                int(np.argmax([_steps_times_rate(o) for o in offered])) if learns else int(random.integers(OFFERED))
            )
        else:
            runs = Batch.of([outcome.description for outcome in offered], dataset=identity)
            predicted = state.predict(runs)
            chosen = int(np.argmax(predicted))
            error = abs(float(np.clip(predicted[chosen], 0, 1)) - accuracies[chosen])
            if learns:
                state = state.update(_record(f"request-{request}", identity, offered[chosen]))
        served.append((float((accuracies.max() - accuracies[chosen]) / np.ptp(accuracies)), error))
    return served


def _steps_times_rate(outcome: Outcome) -> float:
    values = outcome.description.values
    frozen, steps, rate = (values[name] or 0.0 for name in ("frozen_stages", "iterations", "learning_rate"))
    return steps * rate if frozen <= MOST_FROZEN else 0.0


def _record(uid: str, dataset: str, outcome: Outcome) -> OutcomeRecord:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return OutcomeRecord(uid=uid, request="a/b", zoo="fashion", dataset=dataset, recorded_at=at, runs=(outcome,))


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
