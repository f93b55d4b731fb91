"""Predictors as replays use them: start from runs recorded elsewhere, predict, learn what a request ran.

``hedge`` sees the full description (:class:`~nasoa_runtime.online.hedged.Hedged`); ``adaptive-mlp`` and
``fixed-mlp-L`` see what the paper's do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.algorithms import learned, make_predictor
from nasoa_runtime.online.description import describe_rows
from nasoa_runtime.online.encoder import Encoder
from nasoa_runtime.online.experience import Experience
from nasoa_runtime.online.features import REPLAY_FEATURES
from nasoa_runtime.online.forest import fit_forest
from nasoa_runtime.online.hedged import ALGORITHM, Hedged, last_due
from nasoa_runtime.online.predictor import AdaptiveMLP, as_accuracies
from nasoa_runtime.online.recorded_features import described
from nasoa_runtime.online.records import Curve, RecordedRun

Floats = NDArray[np.float64]
Target = Callable[[RecordedRun], float]
"""What of a point is predicted: its accuracy, or the best so far."""
DEFAULT = ALGORITHM
_TAUGHT_FRACTIONS = tuple(0.5**halvings for halvings in range(7, -1, -1))
"""Points of a run's curve that a network learns, evenly in the logarithm: short limits need to know how runs begin."""


class Learner(Protocol):
    """A predictor with all that it has learned."""

    def start(self, curves: Sequence[Curve]) -> None:
        """Learn whole runs that were recorded elsewhere. Comes first."""

    def predict(self, runs: Sequence[RecordedRun]) -> Floats:
        """Predicted accuracies of points, shape (n,), not clipped. Nothing that they reached is read."""

    def finals(self, prefixes: Sequence[Curve], targets: Sequence[RecordedRun]) -> Floats:
        """Predicted best accuracies at ``targets``, shape (n,), given each run's curve so far."""

    def learn(self, runs: Sequence[Curve]) -> None:
        """Take in what one request ran, each run as far as it went."""

    def run(self, runs: Sequence[RecordedRun], seed: int) -> tuple[Floats, Floats]:
        """Predict, then learn, single outcomes in an order shuffled by ``seed``.

        Returns:
            Errors (prediction minus accuracy) and seconds of the updates, both of shape (n,), in stream order.
        """


def make_learner(algorithm: str, seed: int, *, best_so_far: bool = False) -> Learner:
    """The predictor called ``algorithm``, which knows nothing yet.

    Args:
        algorithm: ``hedge``, ``adaptive-mlp`` or ``fixed-mlp-L``.
        seed: of all that is drawn.
        best_so_far: predict the best accuracy up to a point, as it is delivered, instead of the accuracy there.

    Raises:
        ValueError: there is no predictor of that name.
    """
    if algorithm == DEFAULT:
        return HedgeLearner(seed, best_so_far=best_so_far)
    try:
        return NetworkLearner(algorithm, seed, best_so_far=best_so_far)
    except ValueError as error:
        msg = f"unknown predictor {algorithm!r}: write {DEFAULT}, adaptive-mlp or fixed-mlp-L, L the number of layers"
        raise ValueError(msg) from error


class HedgeLearner:
    """The experts' mixture as it changes, with trees fitted anew when they are due."""

    def __init__(self, seed: int, *, best_so_far: bool) -> None:
        """Start from nothing."""
        self.seed, self.best_so_far = seed, best_so_far
        self.state = Hedged.new(seed)
        self.known: Experience | None = None

    def start(self, curves: Sequence[Curve]) -> None:
        """See :class:`Learner`."""
        if curves:
            self.known = self._experience(curves)
            self.state = Hedged.started(self.known, self.seed)

    def predict(self, runs: Sequence[RecordedRun]) -> Floats:
        """See :class:`Learner`."""
        return self.state.predict(described(runs))

    def finals(self, prefixes: Sequence[Curve], targets: Sequence[RecordedRun]) -> Floats:
        """See :class:`Learner`."""
        return carried_on(self.predict, prefixes, targets)

    def learn(self, runs: Sequence[Curve]) -> None:
        """See :class:`Learner`."""
        if not runs:
            return
        shown = self._experience(runs)
        self.known = shown if self.known is None else Experience.concatenated([self.known, shown])
        self.state = self.state.learn(shown)
        if last_due(self.state.version) == self.state.version:
            self.state = self.state.adopting(fit_forest(self.known, self.seed))

    def _experience(self, curves: Sequence[Curve]) -> Experience:
        return Experience.of_curves(curves, best_so_far=self.best_so_far)

    def run(self, runs: Sequence[RecordedRun], seed: int) -> tuple[Floats, Floats]:
        """See :class:`Learner`."""
        predicted, seconds = np.empty(len(runs)), np.empty(len(runs))
        stream = shuffled(runs, seed)
        for index, run in enumerate(stream):
            predicted[index] = self.predict([run])[0]
            started = time.perf_counter()
            self.learn([[run]])
            seconds[index] = time.perf_counter() - started
        return as_accuracies(predicted) - np.array([run.acc for run in stream]), seconds


class NetworkLearner:
    """An encoder and a network that learn a stream: a predictor state without its bookkeeping."""

    def __init__(self, algorithm: str, seed: int, *, best_so_far: bool) -> None:
        """Start from nothing; columns for models are added as models are met."""
        self.seed = seed
        self.target = best_accuracy if best_so_far else accuracy_here
        self.encoder = Encoder.new(REPLAY_FEATURES)
        self.network: AdaptiveMLP = make_predictor(
            algorithm, self.encoder.width, seed, input_energy=self.encoder.energy
        )

    def start(self, curves: Sequence[Curve]) -> None:
        """Learn points of the curves, in an order shuffled by the seed."""
        self.run([point for curve in curves for point in lessons(curve, self.target)], self.seed)

    def predict(self, runs: Sequence[RecordedRun]) -> Floats:
        """See :class:`Learner`."""
        return self.network.predict(self.encoder.encode(describe_rows(runs, REPLAY_FEATURES)))

    def finals(self, prefixes: Sequence[Curve], targets: Sequence[RecordedRun]) -> Floats:
        """See :class:`Learner`."""
        return carried_on(self.predict, prefixes, targets)

    def learn(self, runs: Sequence[Curve]) -> None:
        """See :class:`Learner`."""
        for run in runs:
            for point in lessons(run, self.target):
                self._learn(self.encoder.transform(describe_rows([point], REPLAY_FEATURES)), point.model, point.acc)

    def run(self, runs: Sequence[RecordedRun], seed: int) -> tuple[Floats, Floats]:
        """See :class:`Learner`."""
        stream = shuffled(runs, seed)
        if not stream:
            return np.zeros(0), np.zeros(0)
        transformed = self.encoder.transform(describe_rows(stream, REPLAY_FEATURES))
        predicted, seconds = np.empty(len(stream)), np.empty(len(stream))
        for index, run in enumerate(stream):
            row = transformed[index : index + 1]
            predicted[index] = self.network.predict_one(self._encode(row, run.model)[0])
            started = time.perf_counter()
            self._learn(row, run.model, run.acc)
            seconds[index] = time.perf_counter() - started
        return as_accuracies(predicted) - np.array([run.acc for run in stream]), seconds

    def _learn(self, transformed: Floats, model: str, accuracy: float) -> None:
        """Take in one outcome; ``transformed`` has shape (1, features)."""
        if model not in self.encoder.models:
            self.encoder = self.encoder.grow(model)
            self.network.grow()
        self.encoder = self.encoder.observe(transformed)
        self.network = learned(self.network, self._encode(transformed, model)[0], accuracy)

    def _encode(self, transformed: Floats, model: str) -> NDArray[np.float32]:
        index = np.zeros(transformed.shape[0], np.int64)
        return self.encoder.encode_transformed(transformed, (model,), index)


def shuffled(runs: Sequence[RecordedRun], seed: int) -> list[RecordedRun]:
    """The runs in an order drawn from ``seed``."""
    return [runs[index] for index in np.random.default_rng(seed).permutation(len(runs))]


def lessons(run: Curve, target: Target) -> list[RecordedRun]:
    """What a run teaches a network: what some of its points reached, the last one among them."""
    last = len(run) - 1
    chosen = sorted({max(0, round((last + 1) * fraction) - 1) for fraction in _TAUGHT_FRACTIONS})
    return [replace(run[index], acc=target(run[index])) for index in chosen]


def best_accuracy(point: RecordedRun) -> float:
    """What a request delivers that stops at this point."""
    return point.best_acc


def accuracy_here(point: RecordedRun) -> float:
    """What was measured at this point."""
    return point.acc


def carried_on(
    predict: Callable[[Sequence[RecordedRun]], Floats], prefixes: Sequence[Curve], targets: Sequence[RecordedRun]
) -> Floats:
    """What runs will reach that have come so far: the best so far, and what the predictor thinks is still gained."""
    now = [prefix[-1] for prefix in prefixes]
    gains = np.maximum(predict(targets) - predict(now), 0.0)
    return np.array([point.best_acc for point in now]) + gains
