"""Replaying whole requests over recorded curves: choose, be charged, learn what was run (``nasoa policy replay``).

For each dataset, four time limits from the 5th to the 95th percentile of what its finished runs cost. A recorded
curve is a candidate as far as the limit reaches, so every choice's true accuracy is known, and with it the regret.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nasoa_runtime.online.learners import DEFAULT, make_learner
from nasoa_runtime.online.records import UnreadableRecords, read_curves
from nasoa_runtime.online.replayed import Offer
from nasoa_runtime.online.requests import LIMITS, by_dataset, regret, requests_of, within
from nasoa_runtime.online.strategies import strategy_named


def policy_replay(
    records: Path | str,
    warm_start: Path | str,
    strategy: str = "OneShot",
    algorithm: str = DEFAULT,
    seed: int = 0,
) -> dict[str, Any]:
    """Serve a request for every dataset and time limit of ``records``, in an order shuffled by ``seed``.

    Args:
        records: CSV file whose curves are the candidates.
        warm_start: CSV file whose curves are learned first.
        strategy: a name that :func:`~nasoa_runtime.online.strategies.strategy_named` knows.
        algorithm: a name that :func:`~nasoa_runtime.online.learners.make_learner` knows.
        seed: of the orders and of all that is drawn.

    Returns:
        ``requests``, ``mean_accuracy``, ``mean_regret``, ``by_limit`` (mean regret at each of the four, shortest
        first), ``limit_exceeded`` (requests that cost more than their limit).

    Raises:
        UnknownStrategyError: there is no strategy of that name.
    """
    played_by = strategy_named(strategy)
    learner = make_learner(algorithm, seed, best_so_far=True)
    candidates = read_curves(records)
    if not candidates:
        msg = f"{records}: no finished run"
        raise UnreadableRecords(msg)
    learner.start(read_curves(warm_start))
    curves = by_dataset(candidates)
    requests = requests_of(candidates)
    order = np.random.default_rng(seed).permutation(len(requests))
    regrets: list[list[float]] = [[] for _ in range(LIMITS)]
    reached: list[float] = []
    exceeded = 0
    for request in (requests[index] for index in order):
        prefixes = within(curves[request.dataset], request.seconds)
        played = played_by.replay(Offer(request.seconds, prefixes, learner.predict, learner.finals))
        got = played.runs[played.delivered][-1].best_acc
        regrets[request.limit].append(regret(prefixes, got))
        reached.append(got)
        exceeded += played.seconds > request.seconds
        learner.learn(played_by.learned(played.runs, played.delivered))
    return {
        "requests": len(requests),
        "mean_accuracy": float(np.mean(reached)),
        "mean_regret": float(np.mean(np.concatenate(regrets))),
        "by_limit": [float(np.mean(of_limit)) for of_limit in regrets],
        "limit_exceeded": exceeded,
        "strategy": strategy,
        "algorithm": algorithm,
        "seed": seed,
    }
