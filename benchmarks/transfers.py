"""Regret of a zoo's first requests among real transfers of small networks that no warm start has learned.

Run ``.venv/bin/python benchmarks/transfers.py [--seeds 8] [--json]``. A request offers sixteen recorded runs on one
dataset; the one that is predicted best is taken, charged its regret, and learned. ``--make OUT [--runs 217]`` records
the runs anew, some ten minutes on one core: two encoded networks, trained on 6,000 images of Fashion-MNIST, then
fine-tuned by the runtime's own loop on five other datasets, with regimes drawn from a fixed seed.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nasoa_runtime.online.features import Batch, RunDescription
from nasoa_runtime.online.replay import open_text
from nasoa_runtime.online.state import Outcome, PredictorState
from nasoa_runtime.online.warm_start import read_recorded, read_small, taught, warm_started

RUNS = Path(__file__).parent / "transfers.csv.gz"
DATASETS = ("digits", "mnist", "even-digits", "emoji-twitter", "emoji-kinds")
NETWORKS = ("2-_16_1-12-1-2", "031-_12_1-12-1-2")
REQUESTS, OFFERED, STREAMS = 20, 16, 5
PARTS = {"1": slice(0, 1), "1-4": slice(0, 4), "5-10": slice(4, 10), "11-20": slice(10, 20)}
WHOLE = ("parameters", "macs", "classes", "iterations", "frozen_stages")
SIZE, BATCH, SOURCE_IMAGES, SOURCE_STEPS = 32, 32, 6000, 400
Transfer = tuple[str, Outcome]
"""A dataset's name, and a run on it."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--make", type=Path)
    parser.add_argument("--runs", type=int, default=217)
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
    dataset, model = row.pop("dataset"), row.pop("model")
    values: dict[str, Any] = {name: int(value) if name in WHOLE else float(value) for name, value in row.items()}
    accuracy = values.pop("accuracy")
    return dataset, Outcome(RunDescription(model=model, **values), accuracy)


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
            chosen = int(np.argmax(state.scores(Batch.of([o.run for o in offered], state.encoder.table))))
            state = state.learn([offered[chosen]], f"request-{request}")
        regrets.append(float((accuracies.max() - accuracies[chosen]) / np.ptp(accuracies)))
    return regrets


def make(path: Path, runs: int) -> None:
    """Train and fine-tune the networks, writing each run as it ends."""
    import torch  # noqa: PLC0415 - takes seconds, and only recording needs it.

    from demo.datasets import SOURCES, fashion  # noqa: PLC0415
    from nasoa_runtime.architecture.complexity import complexity  # noqa: PLC0415
    from nasoa_runtime.failures import DivergedError  # noqa: PLC0415
    from nasoa_runtime.training.device import Target  # noqa: PLC0415
    from nasoa_runtime.training.loop import Settings, Trainer  # noqa: PLC0415
    from nasoa_runtime.training.models import build_model, freeze  # noqa: PLC0415

    torch.set_num_threads(1)
    target = Target(torch.device("cpu"))

    def train(model: torch.nn.Module, batches: Any, rate: float, batch_size: int, steps: int) -> None:
        trainer = Trainer(model, Settings(rate, batch_size), target)
        trainer.plan(steps)
        trainer.train(batches, steps)

    images, labels = _tensors(fashion(SOURCE_IMAGES))
    networks = []
    for architecture in NETWORKS:
        torch.manual_seed(0)
        model = build_model(architecture, 10, low_resolution_stem=True)
        shown = _batches(images, labels, torch.arange(SOURCE_IMAGES), 64, 0)
        train(model, shown, 0.1, 64, SOURCE_STEPS)
        size = complexity(architecture, SIZE, 10, low_resolution_stem=True)
        held = torch.arange(SOURCE_IMAGES, len(images))
        networks.append((architecture, size, _accuracy(model, images, labels, held), model.state_dict()))
    data = {name: _tensors(SOURCES[name]()) for name in DATASETS}
    random = np.random.default_rng(1)
    rows: list[dict[str, Any]] = []
    while len(rows) < runs:
        name = DATASETS[len(rows) % len(DATASETS)]
        images, labels = data[name]
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
        seen, unseen = order[: int(0.64 * len(order))], order[int(0.64 * len(order)) :]
        architecture, size, source_accuracy, weights = networks[random.integers(len(networks))]
        rate, frozen = float(random.choice([0.001, 0.003, 0.01, 0.03, 0.1])), int(random.integers(6))
        steps = int(random.choice([20, 50, 120, 300]))
        classes = int(labels.max()) + 1
        model = build_model(architecture, classes, low_resolution_stem=True)
        own = model.state_dict()
        model.load_state_dict({key: weights[key] if own[key].shape == weights[key].shape else own[key] for key in own})
        freeze(model, frozen)
        try:
            train(model, _batches(images, labels, seen, BATCH, int(random.integers(1_000_000))), rate, BATCH, steps)
            reached = _accuracy(model, images, labels, unseen)
        except DivergedError:
            reached = 1 / classes
        counts = np.bincount(labels[seen].numpy())
        described = RunDescription(
            architecture, classes, float(counts.mean()), float(counts.std()), steps, rate, frozen,
            source_accuracy=source_accuracy, parameters=size.parameters, macs=size.macs,
        )  # fmt: skip
        rows.append(row_of(name, described, reached))
        path.write_bytes(packed(rows))


def row_of(dataset: str, run: RunDescription, accuracy: float) -> dict[str, Any]:
    """A run as the file has it: without a similarity, which nothing here measures."""
    described = {name: value for name, value in vars(run).items() if name != "domain_similarity"}
    values = {"dataset": dataset, **described, "accuracy": accuracy}
    return {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in values.items()}


def packed(rows: list[dict[str, Any]]) -> bytes:
    """The file; equal rows give equal bytes."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return gzip.compress(text.getvalue().encode(), mtime=0)


def _tensors(images: Any) -> tuple[Any, Any]:
    """Images on white, shape (n, 3, 32, 32), and the indices of their classes."""
    import torch  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    pixels, labels = [], []
    names: dict[str, int] = {}
    for path, content in images:
        image = Image.open(io.BytesIO(content)).convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image).convert("RGB")
        pixels.append(np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR)))
        labels.append(names.setdefault(path.split("/")[-2], len(names)))
    return torch.tensor(np.array(pixels)).permute(0, 3, 1, 2).float().div(255).sub(0.5).div(0.25), torch.tensor(labels)


def _batches(images: Any, labels: Any, indices: Any, size: int, seed: int) -> Any:
    """Endless batches, each shifted by up to three pixels."""
    import torch  # noqa: PLC0415

    generator = torch.Generator().manual_seed(seed)
    while True:
        order = indices[torch.randperm(len(indices), generator=generator)]
        for start in range(0, len(order) - size + 1, size):
            chosen = order[start : start + size]
            down, right = (int(torch.randint(-3, 4, (1,), generator=generator)) for _ in range(2))
            yield torch.roll(images[chosen], (down, right), (2, 3)), labels[chosen]


def _accuracy(model: Any, images: Any, labels: Any, indices: Any) -> float:
    import torch  # noqa: PLC0415

    model.eval()
    with torch.no_grad():
        right = [model(images[part]).argmax(1) == labels[part] for part in indices.split(256)]
    return float(torch.cat(right).float().mean())


if __name__ == "__main__":
    raise SystemExit(main())
