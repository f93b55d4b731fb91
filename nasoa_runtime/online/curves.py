"""What a race is told of candidates: which differ in more than their steps, what steps are predicted to add. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.boundary import MOST_PREDICTED_POINTS
from nasoa_runtime.online.candidates import Suggestion
from nasoa_runtime.online.predictor import as_accuracies
from nasoa_runtime.online.ranking import Ranking

FEWEST_STEPS = 4
"""Where curves begin."""
_OF_STEPS = ("iterations", "planned_iterations", "annealed")
"""Columns of regimes in which two that are alike may differ."""


def longest_of_each(ranking: Ranking) -> list[int]:
    """Of candidates that differ in nothing but their steps the one with the most; best first."""
    regimes = ranking.regimes
    columns = [getattr(regimes, field.name) for field in fields(regimes) if field.name not in _OF_STEPS]
    codes = np.column_stack([np.unique(column, return_inverse=True)[1] for column in columns])
    alike = np.unique(codes, axis=0, return_inverse=True)[1].reshape(-1)
    most = np.zeros(alike.max() + 1)
    np.maximum.at(most, alike, regimes.iterations)
    found: dict[int, int] = {}
    for row in ranking.order:
        number = int(row)
        if regimes.iterations[number] == most[alike[number]]:
            found.setdefault(int(alike[number]), number)
    return list(found.values())


def first_of_each_kind(ranking: Ranking, numbers: Sequence[int]) -> list[int]:
    """Of candidates of one kind the first, those of other kinds behind, in their order.

    A kind is what decides most: the model, what of it is trained, the optimizer and its rate. Places in a race are few,
    and candidates that differ in a weight decay alone would reach about the same.
    """
    regimes = ranking.regimes
    kinds = (regimes.model, regimes.frozen_stages, regimes.optimizer, regimes.learning_rate, regimes.linear_probe)
    seen: set[tuple[object, ...]] = set()
    first: list[int] = []
    others: list[int] = []
    for number in numbers:
        kind = tuple(column[number] for column in kinds)
        (others if kind in seen else first).append(number)
        seen.add(kind)
    return first + others


def with_curves(ranking: Ranking, numbers: Sequence[int]) -> Suggestion:
    """What is handed over, by the candidates' numbers, the chosen one first; each with its predicted curve."""
    suggestion = ranking.suggestion(numbers[0], numbers[1:])
    candidates = (suggestion.chosen, *suggestion.runners_up)
    steps = [curve_steps(candidate.iterations) for candidate in candidates]
    asked = np.concatenate([np.full(len(points), number) for number, points in zip(numbers, steps, strict=True)])
    predicted = as_accuracies(ranking.predicted_at(asked, np.concatenate(steps).astype(np.float64)))
    parts = np.split(predicted, np.cumsum([len(points) for points in steps])[:-1])
    chosen, *others = (
        replace(candidate, predicted_curve=_rising(points, part))
        for candidate, points, part in zip(candidates, steps, parts, strict=True)
    )
    return replace(suggestion, chosen=chosen, runners_up=tuple(others))


def curve_steps(most: int) -> NDArray[np.int64]:
    """The steps at which a curve is asked for: evenly in the logarithm, from a few to the most."""
    return np.unique(np.round(np.geomspace(min(FEWEST_STEPS, most), most, MOST_PREDICTED_POINTS))).astype(np.int64)


def _rising(steps: NDArray[np.int64], accuracies: NDArray[np.float64]) -> tuple[tuple[int, float], ...]:
    """Training on never makes a run worse, whatever is predicted: its best weights are kept."""
    highest = np.round(np.maximum.accumulate(accuracies), 4)
    return tuple((int(step), float(accuracy)) for step, accuracy in zip(steps, highest, strict=True))
