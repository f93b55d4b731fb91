"""All candidates that fit, in the order in which the predictor prefers them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.boundary import DatasetStatistics
from nasoa_runtime.documents.outcomes import ModelFacts
from nasoa_runtime.online.candidates import Candidate, Suggestion
from nasoa_runtime.online.description import Regimes, describe
from nasoa_runtime.online.fitting import Fits
from nasoa_runtime.online.predictor import as_accuracies
from nasoa_runtime.online.state import PredictorState

SCORE_STEP = 1e-4
"""Predictions closer than this are equal, and the cheaper candidate wins: a hundredth of a percent decides nothing."""


@dataclass(frozen=True)
class Ranking:
    """Candidates as columns of shape (n,), and their order."""

    models: tuple[str, ...]
    regimes: Regimes
    step_seconds: NDArray[np.float64]
    seconds: NDArray[np.float64]
    predicted: NDArray[np.float64]
    """Accuracies, not clipped."""
    order: NDArray[np.int64]
    """The candidates' numbers, best first."""
    predictor_version: int
    predicted_at: Callable[[NDArray[np.int64], NDArray[np.float64]], NDArray[np.float64]]
    """From candidates' numbers and other steps, both of shape (k,), to the accuracies predicted for those."""

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
        )

    def suggestion(self, chosen: int, runners_up: Iterable[int]) -> Suggestion:
        """The candidates that are handed over, by their numbers."""
        others = tuple(self.candidate(number) for number in runners_up)
        return Suggestion(self.candidate(chosen), others, len(self.regimes), self.predictor_version)


def rank(
    fits: Fits,
    learning_rates: tuple[float, ...],
    batch_size: int,
    models: tuple[ModelFacts, ...],
    dataset: DatasetStatistics,
    predictor: PredictorState,
) -> Ranking:
    """Rank what fits, at each learning rate, by predicted accuracy.

    Candidates whose predictions round to the same are ordered by seconds (cheapest first), then by model, frozen stages
    and learning rate, so that equal inputs give equal schedules. Learning rates that the predictor does not tell apart,
    as when it knows nothing of them yet, take turns from one version to the next, the grid's middle first: that costs
    nothing by all that is known, and shows how they differ.
    """
    rates, count = len(learning_rates), len(fits.iterations)
    regimes = Regimes.of_columns(
        model=np.repeat(np.array(fits.model, np.int64), rates),
        learning_rate=np.tile(np.array(learning_rates, np.float64), count),
        frozen_stages=np.repeat(np.array(fits.frozen_stages, np.float64), rates),
        iterations=np.repeat(np.array(fits.iterations, np.float64), rates),
        batch_size=batch_size,
    )
    seconds = np.repeat(np.array(fits.seconds), rates)
    turn = np.tile(_turns(learning_rates, predictor.version), count)

    def predict(asked: Regimes) -> NDArray[np.float64]:
        return predictor.predict(describe(predictor.encoder.table, models, dataset, asked))

    predicted = predict(regimes)
    rounded = np.round(predicted / SCORE_STEP)
    return Ranking(
        models=tuple(model.name for model in models),
        regimes=regimes,
        step_seconds=np.repeat(np.array(fits.step_seconds), rates),
        seconds=seconds,
        predicted=predicted,
        order=np.lexsort((turn, regimes.frozen_stages, regimes.model, seconds, -rounded)),
        predictor_version=predictor.version,
        predicted_at=lambda numbers, steps: predict(with_steps(regimes, numbers, steps)),
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
