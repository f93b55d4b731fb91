"""What a request runs of what was ranked: ``spec.strategy``. A strategy is a value of :data:`STRATEGIES`.

What differs between strategies is said here: what the generator hands over, which runs of a result are learned, and how
recorded runs are replayed. The API, the generator, learning and replays look strategies up by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nasoa_runtime.online.candidates import Suggestion
from nasoa_runtime.online.curves import first_of_each_kind, longest_of_each, with_curves
from nasoa_runtime.online.race import race
from nasoa_runtime.online.ranking import Ranking
from nasoa_runtime.online.replayed import Offer, Played, Replayed, every_run
from nasoa_runtime.online.rungs import STARTERS


class UnknownStrategyError(ValueError):
    """There is no strategy of this name; the message lists those that there are."""


@dataclass(frozen=True, kw_only=True)
class Strategy(Replayed):
    """One way to spend a time limit on what was ranked."""

    suggest: Callable[[Ranking, int], Suggestion]
    """What goes to the pod: the candidate that is chosen, and at most so many runners-up behind it."""
    holds_the_rate: bool = False
    """Whether a run's learning rate stays at its peak until it is known which of several goes on."""


def best_and_others(ranking: Ranking, runners_up: int) -> Suggestion:
    """The best candidate; behind it the best that differ from each before in model, learning rate, frozen stages or
    optimizer.

    Where two models fit, the runners-up include another model than the chosen one's: what is left to try when that runs
    out of memory.
    """
    regimes, chosen = ranking.regimes, int(ranking.order[0])

    def regime(number: int) -> tuple[int, float, float, str]:
        return (
            int(regimes.model[number]),
            float(regimes.frozen_stages[number]),
            float(regimes.learning_rate[number]),
            str(regimes.optimizer[number]),
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


def best_that_differ(ranking: Ranking, runners_up: int) -> Suggestion:
    """The best candidates of different kinds, each with its largest number of steps; then others of these kinds.

    How far each gets is for the race to find out, which needs what is predicted for fewer steps too. There are as many
    as may start, whatever ``runners_up`` says. Where two models fit, there are two among them: what is left to try when
    one runs out of memory.
    """
    ordered = first_of_each_kind(ranking, longest_of_each(ranking))
    models = ranking.regimes.model
    starters = ordered[:STARTERS]
    other = next((number for number in ordered if models[number] != models[ordered[0]]), None)
    if other is not None and other not in starters:
        starters[-1] = other
    return with_curves(ranking, starters)


def best_once(offer: Offer) -> Played:
    """The run with the highest prediction at the limit, the cheapest of equals."""
    ends = [curve[-1] for curve in offer.curves]
    best = int(np.lexsort((np.array([end.gpu_seconds for end in ends]), -offer.predict(ends)))[0])
    return Played((offer.curves[best],), 0, ends[best].gpu_seconds)


RACE = Strategy(
    name="Race",
    summary="Race starts the best few, stops weak ones early and gives the rest of the time to the most promising.",
    suggest=best_that_differ,
    holds_the_rate=True,
    learned=every_run,
    replay=race,
)
ONE_SHOT = Strategy(
    name="OneShot",
    summary="OneShot runs the best candidate, once.",
    suggest=best_and_others,
    learned=every_run,
    replay=best_once,
)
STRATEGIES: dict[str, Strategy] = {strategy.name: strategy for strategy in (RACE, ONE_SHOT)}
"""All of them by name, the default of requests first."""


def strategy_named(name: str) -> Strategy:
    """The strategy of this name.

    Raises:
        UnknownStrategyError: there is no such strategy; the message lists those that there are.
    """
    if name not in STRATEGIES:
        msg = f"unknown strategy {name!r}: write {' or '.join(STRATEGIES)}"
        raise UnknownStrategyError(msg)
    return STRATEGIES[name]
