"""Replaying recorded outcomes: predict, then learn, one run after another (``nasoa predictor replay``).

Only the last point of each recorded run is an outcome. Everything is deterministic but ``update_us``.
"""

from __future__ import annotations

import csv
import gzip
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.features import REPLAY_FEATURES, Batch, Encoder
from nasoa_runtime.online.predictor import AdaptiveMLP, learned, make_predictor

SEGMENTS = {"20-40": (0.2, 0.4), "80-100": (0.8, 1.0)}
"""Shares of the stream whose errors are also reported alone: early, and after most has been learned."""


class UnreadableRecords(ValueError):  # noqa: N818 - it says what is unreadable
    """A file of records lacks a column, or a row's value can't be read; names the file, line and column."""


@dataclass(frozen=True)
class RecordedRun:
    """One point of a recorded learning curve; attributes are named as the file's columns."""

    curve: str
    dataset: str
    model: str
    imagenet_top1: float
    n_classes: float
    imgs_per_class: float
    lr: float
    pct_to_freeze: float
    batch_size: float
    linear_probing: float
    iterations: float
    acc: float
    best_acc: float
    gpu_seconds: float
    final: bool


_TEXT = ("curve", "dataset", "model")
_NUMBERS = (
    "imagenet_top1",
    "n_classes",
    "imgs_per_class",
    "lr",
    "pct_to_freeze",
    "batch_size",
    "linear_probing",
    "iterations",
    "acc",
    "best_acc",
    "gpu_seconds",
)


def read_records(path: Path | str, *, final_only: bool = False) -> list[RecordedRun]:
    """Read a CSV file of records, packed with gzip if its name ends in ``.gz``.

    Raises:
        UnreadableRecords: the file is none, with the line and column at fault.
        OSError: it can't be opened.
    """
    path = Path(path)
    with open_text(path) as stream:
        try:
            reader = csv.DictReader(stream)
            lacking = [name for name in (*_TEXT, *_NUMBERS, "final") if name not in (reader.fieldnames or ())]
            if lacking:
                msg = f"{path}: column {lacking[0]!r} is missing"
                raise UnreadableRecords(msg)
            return [_record(row, path, reader.line_num) for row in reader if not final_only or row["final"] == "True"]
        except (csv.Error, UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
            msg = f"{path}: not a CSV file of records: {error}"
            raise UnreadableRecords(msg) from error


def replay(
    records: Path | str, warm_start: Path | str | None = None, algorithm: str = "adaptive-mlp", seed: int = 0
) -> dict[str, Any]:
    """Predict, then learn, every finished run of ``records`` in an order shuffled by ``seed``.

    Args:
        records: CSV file (SPEC 12).
        warm_start: CSV file whose finished runs are learned first, in an order shuffled by the same seed.
        algorithm: a name that :func:`~nasoa_runtime.online.predictor.make_predictor` knows.
        seed: of the orders and of the network's initialisation.

    Returns:
        ``mae`` and ``mse`` of accuracy in [0, 1], ``segments`` (the same for parts of the stream), ``update_us``
        (median microseconds of one update: encoding, network), ``records`` (length of the stream).
    """
    learner = Learner(algorithm, seed)
    if warm_start is not None:
        learner.run(read_records(warm_start, final_only=True), seed)
    runs = read_records(records, final_only=True)
    if not runs:
        msg = f"{records}: no row has final=True"
        raise UnreadableRecords(msg)
    errors, update_seconds = learner.run(runs, seed)
    segments = {
        name: _errors_summary(errors[int(start * len(errors)) : int(end * len(errors))])
        for name, (start, end) in SEGMENTS.items()
    }
    return {
        **_errors_summary(errors),
        "segments": segments,
        "update_us": float(np.median(update_seconds) * 1e6),
        "records": len(runs),
        "algorithm": algorithm,
        "seed": seed,
    }


class Learner:
    """An encoder and a network that learn a stream: a predictor state without its bookkeeping."""

    def __init__(self, algorithm: str, seed: int) -> None:
        """Start from nothing; columns for models are added as models are met."""
        self.encoder = Encoder.new(REPLAY_FEATURES)
        self.network: AdaptiveMLP = make_predictor(
            algorithm, self.encoder.width, seed, input_energy=self.encoder.energy
        )

    def run(self, runs: list[RecordedRun], seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Predict, then learn, ``runs`` in a shuffled order.

        Returns:
            Errors (prediction minus accuracy) and seconds of the updates, both of shape (n,), in stream order.
        """
        order = np.random.default_rng(seed).permutation(len(runs))
        stream = [runs[index] for index in order]
        if not stream:
            return np.zeros(0), np.zeros(0)
        batch = Batch.of(stream, REPLAY_FEATURES)
        transformed = self.encoder.transform(batch)
        errors, seconds = np.empty(len(stream)), np.empty(len(stream))
        for index, run in enumerate(stream):
            row = transformed[index : index + 1]
            predicted = self.network.score(self._encode(row, run.model)[0])
            errors[index] = min(max(predicted, 0.0), 1.0) - run.acc
            started = time.perf_counter()
            self.update(row, run.model, run.acc)
            seconds[index] = time.perf_counter() - started
        return errors, seconds

    def update(self, transformed: NDArray[np.float64], model: str, accuracy: float) -> None:
        """Take in one outcome; ``transformed`` has shape (1, quantities)."""
        if model not in self.encoder.models:
            self.encoder = self.encoder.grow(model)
            self.network.grow()
        self.encoder = self.encoder.observe(transformed)
        self.network = learned(self.network, self._encode(transformed, model)[0], accuracy)

    def learn_run(self, run: RecordedRun) -> None:
        """Take in one recorded outcome."""
        self.update(self.encoder.transform(Batch.of([run], REPLAY_FEATURES)), run.model, run.acc)

    def scores(self, runs: list[RecordedRun]) -> NDArray[np.float64]:
        """Unclipped predictions, shape (n,), for ranking."""
        return self.network.scores(self.encoder.encode(Batch.of(runs, REPLAY_FEATURES)))

    def _encode(self, transformed: NDArray[np.float64], model: str) -> NDArray[np.float32]:
        index = np.zeros(transformed.shape[0], np.int64)
        return self.encoder.encode_transformed(transformed, (model,), index)


def _errors_summary(errors: NDArray[np.float64]) -> dict[str, float]:
    """Mean absolute and mean squared error; 0 of an empty part, which a tiny stream can have."""
    if errors.size == 0:
        return {"mae": 0.0, "mse": 0.0}
    return {"mae": float(np.abs(errors).mean()), "mse": float((errors * errors).mean())}


def open_text(path: Path) -> TextIO:
    """Open a CSV file, unpacking it if its name ends in ``.gz``."""
    if path.name.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _record(row: dict[str, str], path: Path, line: int) -> RecordedRun:
    values: dict[str, Any] = {name: row[name] for name in _TEXT}
    for name in _NUMBERS:
        try:
            values[name] = float(row[name])
        except (TypeError, ValueError) as error:
            msg = f"{path}, line {line}: {name} is {row[name]!r}, not a number"
            raise UnreadableRecords(msg) from error
    for name in ("acc", "best_acc"):
        if not 0.0 <= values[name] <= 1.0:
            msg = f"{path}, line {line}: {name} is {values[name]}, outside [0, 1]"
            raise UnreadableRecords(msg)
    return RecordedRun(**values, final=row["final"] == "True")
