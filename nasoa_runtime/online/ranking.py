"""All candidates that fit, in the order in which the predictor prefers them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.architecture.structure import FROZEN_STAGES
from nasoa_runtime.boundary import AugmentationName, DatasetStatistics, OptimizerName
from nasoa_runtime.documents.outcomes import ModelFacts
from nasoa_runtime.online.candidates import Candidate, Grid, Suggestion
from nasoa_runtime.online.description import Batch, describe
from nasoa_runtime.online.drawing import Drawn
from nasoa_runtime.online.predictor import as_accuracies
from nasoa_runtime.online.regimes import Regimes
from nasoa_runtime.online.state import PredictorState

SCORE_STEP = 1e-4
"""Predictions closer than this are equal, and the cheaper candidate wins: a hundredth of a percent decides nothing."""


@dataclass(frozen=True)
class Ranking:
    """Candidates as columns of shape (n,), and their order."""

    models: tuple[str, ...]
    regimes: Regimes
    runs: Batch
    """The same as the predictor is told of them."""
    step_seconds: NDArray[np.float64]
    seconds: NDArray[np.float64]
    predicted: NDArray[np.float64]
    """Accuracies, not clipped."""
    order: NDArray[np.int64]
    """The candidates' numbers, best first."""
    predictor_version: int
    predicted_at: Callable[[NDArray[np.int64], NDArray[np.float64]], NDArray[np.float64]]
    """From candidates' numbers and other steps, both of shape (k,), to the accuracies predicted for those."""
    interval_of: Callable[[Batch], tuple[NDArray[np.float64], NDArray[np.float64]]]
    """Ends of intervals in which nine of ten accuracies of such runs should lie."""

    def candidate(self, number: int) -> Candidate:
        """One of the candidates."""
        regimes = self.regimes
        return Candidate(
            model=self.models[regimes.model[number]],
            learning_rate=float(regimes.learning_rate[number]),
            frozen_stages=int(regimes.frozen_stages[number]),
            iterations=int(regimes.iterations[number]),
            step_seconds=float(self.step_seconds[number]),
            seconds=float(self.seconds[number]),
            predicted_accuracy=float(as_accuracies(self.predicted[number])),
            batch_size=int(regimes.batch_size[number]),
            optimizer=cast("OptimizerName", str(regimes.optimizer[number])),
            momentum=float(regimes.momentum[number]),
            weight_decay=float(regimes.weight_decay[number]),
            layer_decay=float(regimes.layer_decay[number]),
            label_smoothing=float(regimes.label_smoothing[number]),
            mixup=float(regimes.mixup[number]),
            mirroring=bool(regimes.mirroring[number]),
            augmentation=cast("AugmentationName", str(regimes.augmentation[number])),
            ema=bool(regimes.ema[number]),
            linear_probe=bool(regimes.linear_probe[number]),
        )

    def suggestion(self, chosen: int, runners_up: Iterable[int]) -> Suggestion:
        """The candidates that are handed over, by their numbers."""
        best, *others = self.with_intervals((chosen, *runners_up))
        return Suggestion(best, tuple(others), len(self.regimes), self.predictor_version)

    def with_intervals(self, numbers: Sequence[int]) -> list[Candidate]:
        """Some of the candidates, each with the interval around its prediction."""
        low, high = self.interval_of(self.runs.take(np.array(numbers, np.int64)))
        return [
            replace(self.candidate(number), predicted_low=float(lower), predicted_high=float(upper))
            for number, lower, upper in zip(numbers, low, high, strict=True)
        ]


def rank(
    drawn: Drawn,
    grid: Grid,
    models: tuple[ModelFacts, ...],
    dataset: DatasetStatistics,
    predictor: PredictorState,
) -> Ranking:
    """Rank candidates by predicted accuracy.

    Candidates whose predictions round to the same are ordered by seconds (cheapest first), then by model, frozen stages
    and learning rate, and of these the plainest comes first: the one whose values stand first in the grid's lists. So
    equal inputs give equal schedules. Learning rates that the predictor does not tell apart, as when it knows nothing
    of them yet, take turns from one version to the next, the grid's middle first: that costs nothing by all that is
    known, and shows how they differ.

    Args:
        drawn: the candidates.
        grid: that they were drawn from.
        models: by the candidates' indices.
        dataset: that they would be trained on.
        predictor: what has been learned so far.
    """
    regimes, turn = drawn.regimes, np.zeros(len(drawn.regimes), np.int64)
    for optimizer in grid.optimizers:
        its = regimes.optimizer == optimizer
        turn[its] = _turns(grid.rates_of(optimizer), predictor.version)[drawn.learning_rate_index[its]]

    def predict(asked: Regimes) -> NDArray[np.float64]:
        return predictor.predict(describe(models, dataset, asked))

    runs = describe(models, dataset, regimes)
    predicted = predictor.predict(runs)
    rounded = np.round(predicted / SCORE_STEP)
    # The last four of the keys as one number: sorting by six takes twice as long.
    last = regimes.model * len(FROZEN_STAGES) + regimes.frozen_stages.astype(np.int64)
    last = (last * (turn.max() + 1) + turn) * (drawn.plainness.max() + 1) + drawn.plainness
    return Ranking(
        models=tuple(model.name for model in models),
        regimes=regimes,
        runs=runs,
        step_seconds=drawn.step_seconds,
        seconds=drawn.seconds,
        predicted=predicted,
        order=np.lexsort((last, drawn.seconds, -rounded)),
        predictor_version=predictor.version,
        predicted_at=lambda numbers, steps: predict(with_steps(regimes, numbers, steps)),
        interval_of=predictor.interval,
    )


def with_steps(regimes: Regimes, numbers: NDArray[np.int64], steps: NDArray[np.float64]) -> Regimes:
    """Some of ``regimes``, planned for other steps."""
    columns = {field.name: getattr(regimes, field.name)[numbers] for field in fields(regimes)}
    return Regimes(**columns | {"iterations": steps, "planned_iterations": steps})


def _turns(rates: tuple[float, ...], version: int) -> NDArray[np.int64]:
    """The place of each rate among equals at this version; at version 0 the middle comes first, then its neighbours."""
    logarithms = np.log(np.array(rates, np.float64))
    # Of two neighbours the larger comes first: short schedules need it sooner than long ones need the smaller.
    distance = np.round(np.abs(logarithms - np.median(logarithms)), 1)
    places = np.empty(len(rates), np.int64)
    places[np.lexsort((-logarithms, distance))] = np.arange(len(rates))
    return (places - version) % len(rates)
