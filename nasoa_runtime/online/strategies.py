"""What a request runs of what was ranked: ``spec.strategy``. A strategy is a value of :data:`STRATEGIES`.

What differs between strategies is said here: what the generator hands over, which runs of a result are learned, and how
recorded runs are replayed. The API, the generator, learning and replays look strategies up by name. Those of
:data:`REPLAY_ONLY` exist for recorded runs alone: no request can ask for what no pod can run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from nasoa_runtime.online.candidates import Suggestion
from nasoa_runtime.online.race import RACE
from nasoa_runtime.online.ranking import Ranking
from nasoa_runtime.online.replayed import Offer, Played, Replayed, every_run


class UnknownStrategyError(ValueError):
    """There is no strategy of this name; the message lists those that there are."""


@dataclass(frozen=True, kw_only=True)
class Strategy(Replayed):
    """One way to spend a time limit on what was ranked."""

    suggest: Callable[[Ranking, int], Suggestion]
    """What goes to the pod: the candidate that is chosen, and at most so many runners-up behind it."""


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
"""Those that a request can ask for, by name."""
REPLAY_ONLY: dict[str, Replayed] = {strategy.name: strategy for strategy in (RACE,)}
"""Those that only replays know, by name."""


def strategy_named(name: str) -> Strategy:
    """The strategy of this name.

    Raises:
        UnknownStrategyError: there is no such strategy; the message lists those that there are.
    """
    if name not in STRATEGIES:
        raise _unknown(name, STRATEGIES)
    return STRATEGIES[name]


def replay_named(name: str) -> Replayed:
    """The strategy of this name, which need not be one that can be asked for.

    Raises:
        UnknownStrategyError: there is no such strategy; the message lists those that there are.
    """
    known = replayable()
    if name not in known:
        raise _unknown(name, known)
    return known[name]


def replayable() -> dict[str, Replayed]:
    """All that can be replayed, by name."""
    return {**STRATEGIES, **REPLAY_ONLY}


def _unknown(name: str, known: Iterable[str]) -> UnknownStrategyError:
    return UnknownStrategyError(f"unknown strategy {name!r}: write {' or '.join(known)}")
