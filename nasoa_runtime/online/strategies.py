"""What a request runs of what was ranked: ``spec.strategy``. A strategy is a value of :data:`STRATEGIES`.

What differs between strategies is said here: what the generator hands over, which runs of a result are learned, and how
recorded runs are replayed. The API, the generator, learning and replays look strategies up by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.candidates import Suggestion
from nasoa_runtime.online.ranking import Ranking
from nasoa_runtime.online.records import Curve, RecordedRun

R = TypeVar("R")


class UnknownStrategyError(ValueError):
    """There is no strategy of this name; the message lists those that there are."""


class Learned(Protocol):
    """Chooses those of a request's runs that teach the predictor, in their order.

    ``delivered`` is the number of the run whose model was delivered, ``None`` where no run's was.
    """

    def __call__(self, runs: Sequence[R], delivered: int | None) -> Sequence[R]: ...  # noqa: D102


@dataclass(frozen=True)
class Offer:
    """A replayed request: what each recorded run has shown by the time limit, and what the predictor thinks of it."""

    seconds: float
    """The time limit."""
    curves: Sequence[Curve]
    """The points that are reached within it, of each run in the order of iterations; none is empty."""
    predict: Callable[[Sequence[RecordedRun]], NDArray[np.float64]]
    """Predicted accuracies of points, not clipped."""


@dataclass(frozen=True)
class Played:
    """What a replayed request ran, and what for."""

    runs: Sequence[Curve]
    """As far as each was run."""
    delivered: int
    """The number of the run whose model is delivered."""
    seconds: float
    """What is charged."""


@dataclass(frozen=True)
class Strategy:
    """One way to spend a time limit on what was ranked."""

    name: str
    summary: str
    """A sentence for help texts and the API's documentation."""
    suggest: Callable[[Ranking, int], Suggestion]
    """What goes to the pod: the candidate that is chosen, and at most so many runners-up behind it."""
    learned: Learned
    replay: Callable[[Offer], Played]


def best_and_others(ranking: Ranking, runners_up: int) -> Suggestion:
    """The best candidate; behind it the best that differ from each before in model, learning rate or frozen stages.

    Where two models fit, the runners-up include another model than the chosen one's: what is left to try when that runs
    out of memory.
    """
    regimes, chosen = ranking.regimes, int(ranking.order[0])

    def regime(number: int) -> tuple[int, float, float]:
        return (
            int(regimes.model[number]),
            float(regimes.frozen_stages[number]),
            float(regimes.learning_rate[number]),
        )

    others: list[int] = []
    seen = {regime(chosen)}
    other_model: int | None = None
    for row in ranking.order[1:]:
        number = int(row)
        if other_model is None and regimes.model[number] != regimes.model[chosen]:
            other_model = number
        if len(others) < runners_up and regime(number) not in seen:
            seen.add(regime(number))
            others.append(number)
        if len(others) >= runners_up and (other_model is not None or len(ranking.models) == 1):
            break
    if runners_up and other_model is not None and other_model not in others:
        others[-1] = other_model
    return ranking.suggestion(chosen, others)


def every_run(runs: Sequence[R], delivered: int | None) -> Sequence[R]:
    """All of them."""
    return runs


def best_once(offer: Offer) -> Played:
    """The run with the highest prediction at the limit, the cheapest of equals."""
    ends = [curve[-1] for curve in offer.curves]
    best = int(np.lexsort((np.array([end.gpu_seconds for end in ends]), -offer.predict(ends)))[0])
    return Played((offer.curves[best],), 0, ends[best].gpu_seconds)


ONE_SHOT = Strategy(
    name="OneShot",
    summary="OneShot runs the best candidate, once.",
    suggest=best_and_others,
    learned=every_run,
    replay=best_once,
)
STRATEGIES: dict[str, Strategy] = {strategy.name: strategy for strategy in (ONE_SHOT,)}
"""All there are, by name."""


def strategy_named(name: str) -> Strategy:
    """The strategy of this name.

    Raises:
        UnknownStrategyError: there is no such strategy; the message lists those that there are.
    """
    if name not in STRATEGIES:
        msg = f"unknown strategy {name!r}: write {' or '.join(STRATEGIES)}"
        raise UnknownStrategyError(msg)
    return STRATEGIES[name]
