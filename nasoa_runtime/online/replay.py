"""Replaying recorded outcomes: predict, then learn, one run after another (``nasoa predictor replay``).

Only the last point of each recorded run is an outcome. Everything is deterministic but ``update_us``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.algorithms import learned, make_predictor
from nasoa_runtime.online.description import describe_rows
from nasoa_runtime.online.encoder import Encoder
from nasoa_runtime.online.features import REPLAY_FEATURES
from nasoa_runtime.online.predictor import AdaptiveMLP, as_accuracies
from nasoa_runtime.online.records import RecordedRun, UnreadableRecords, read_records

SEGMENTS = {"20-40": (0.2, 0.4), "80-100": (0.8, 1.0)}
"""Shares of the stream whose errors are also reported alone: early, and after most has been learned."""


def replay(
    records: Path | str, warm_start: Path | str | None = None, algorithm: str = "adaptive-mlp", seed: int = 0
) -> dict[str, Any]:
    """Predict, then learn, every finished run of ``records`` in an order shuffled by ``seed``.

    Args:
        records: CSV file (SPEC 12).
        warm_start: CSV file whose finished runs are learned first, in an order shuffled by the same seed.
        algorithm: a name that :func:`~nasoa_runtime.online.algorithms.make_predictor` knows.
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

    def run(self, runs: Sequence[RecordedRun], seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Predict, then learn, ``runs`` in a shuffled order.

        Returns:
            Errors (prediction minus accuracy) and seconds of the updates, both of shape (n,), in stream order.
        """
        order = np.random.default_rng(seed).permutation(len(runs))
        stream = [runs[index] for index in order]
        if not stream:
            return np.zeros(0), np.zeros(0)
        transformed = self.encoder.transform(describe_rows(REPLAY_FEATURES, stream))
        predicted, seconds = np.empty(len(stream)), np.empty(len(stream))
        for index, run in enumerate(stream):
            row = transformed[index : index + 1]
            predicted[index] = self.network.predict_one(self._encode(row, run.model)[0])
            started = time.perf_counter()
            self._learn(row, run.model, run.acc)
            seconds[index] = time.perf_counter() - started
        return as_accuracies(predicted) - np.array([run.acc for run in stream]), seconds

    def update(self, run: RecordedRun) -> None:
        """Take in one recorded outcome."""
        self._learn(self.encoder.transform(describe_rows(REPLAY_FEATURES, [run])), run.model, run.acc)

    def predict(self, runs: Sequence[RecordedRun]) -> NDArray[np.float64]:
        """Predicted accuracies, shape (n,), not clipped."""
        return self.network.predict(self.encoder.encode(describe_rows(REPLAY_FEATURES, runs)))

    def _learn(self, transformed: NDArray[np.float64], model: str, accuracy: float) -> None:
        """Take in one outcome; ``transformed`` has shape (1, features)."""
        if model not in self.encoder.models:
            self.encoder = self.encoder.grow(model)
            self.network.grow()
        self.encoder = self.encoder.observe(transformed)
        self.network = learned(self.network, self._encode(transformed, model)[0], accuracy)

    def _encode(self, transformed: NDArray[np.float64], model: str) -> NDArray[np.float32]:
        index = np.zeros(transformed.shape[0], np.int64)
        return self.encoder.encode_transformed(transformed, (model,), index)


def _errors_summary(errors: NDArray[np.float64]) -> dict[str, float]:
    """Mean absolute and mean squared error; 0 of an empty part, which a tiny stream can have."""
    if errors.size == 0:
        return {"mae": 0.0, "mse": 0.0}
    return {"mae": float(np.abs(errors).mean()), "mse": float((errors * errors).mean())}
