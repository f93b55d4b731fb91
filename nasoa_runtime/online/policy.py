"""Replaying whole requests over recorded curves: choose, be charged, learn what was run (``nasoa policy replay``).

For each dataset, four time limits from the 5th to the 95th percentile of what its finished runs cost. A recorded
curve is a candidate as far as the limit reaches, so every choice's true accuracy is known, and with it the regret.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nasoa_runtime.online.records import Curve, RecordedRun, UnreadableRecords, read_records
from nasoa_runtime.online.replay import Learner
from nasoa_runtime.online.strategies import Offer, strategy_named

LIMITS = 4
_PERCENTILES = (5.0, 95.0)
_TAUGHT_FRACTIONS = tuple(0.5**halvings for halvings in range(7, -1, -1))
"""Points of a run's curve that are learned, evenly in the logarithm: short limits need to know how runs begin."""


@dataclass(frozen=True)
class _Request:
    dataset: str
    limit: int
    """Which of the four, shortest first."""
    seconds: float


def policy_replay(
    records: Path | str,
    warm_start: Path | str,
    strategy: str = "OneShot",
    algorithm: str = "adaptive-mlp",
    seed: int = 0,
) -> dict[str, Any]:
    """Serve a request for every dataset and time limit of ``records``, in an order shuffled by ``seed``.

    Args:
        records: CSV file whose curves are the candidates.
        warm_start: CSV file whose curves are learned first.
        strategy: a name of :data:`~nasoa_runtime.online.strategies.STRATEGIES`.
        algorithm: a name that :func:`~nasoa_runtime.online.algorithms.make_predictor` knows.
        seed: of the orders and of the network's initialisation.

    Returns:
        ``requests``, ``mean_accuracy``, ``mean_regret``, ``by_limit`` (mean regret at each of the four, shortest
        first), ``limit_exceeded`` (requests that cost more than their limit).

    Raises:
        UnknownStrategyError: there is no strategy of that name.
    """
    played_by = strategy_named(strategy)
    learner = Learner(algorithm, seed)
    taught = [point for curve in _curves(warm_start) for point in _lessons(curve)]
    learner.run(taught, seed)
    curves: dict[str, list[Curve]] = {}
    for curve in _curves(records):
        curves.setdefault(curve[0].dataset, []).append(curve)
    if not curves:
        msg = f"{records}: no finished run without linear probing"
        raise UnreadableRecords(msg)
    requests = _requests(curves)
    order = np.random.default_rng(seed).permutation(len(requests))
    regrets: list[list[float]] = [[] for _ in range(LIMITS)]
    reached: list[float] = []
    exceeded = 0
    for request in (requests[index] for index in order):
        prefixes = [prefix for curve in curves[request.dataset] if (prefix := _prefix(curve, request.seconds))]
        played = played_by.replay(Offer(request.seconds, prefixes, learner.predict))
        accuracies = [prefix[-1].best_acc for prefix in prefixes]
        best, worst, got = max(accuracies), min(accuracies), played.runs[played.delivered][-1].best_acc
        regrets[request.limit].append((best - got) / (best - worst) if best > worst else 0.0)
        reached.append(got)
        exceeded += played.seconds > request.seconds
        for run in played_by.learned(played.runs, played.delivered):
            for point in _lessons(run):
                learner.update(point)
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


def _curves(path: Path | str) -> list[Curve]:
    """Finished runs without linear probing, each in the order of its iterations."""
    curves: dict[str, Curve] = {}
    for record in read_records(path):
        if not record.linear_probing:
            curves.setdefault(record.curve, []).append(record)
    ordered = (sorted(curve, key=lambda point: point.iterations) for curve in curves.values())
    return [curve for curve in ordered if any(point.final for point in curve)]


def _requests(curves: dict[str, list[Curve]]) -> list[_Request]:
    requests = []
    for dataset in sorted(curves):
        costs = [point.gpu_seconds for curve in curves[dataset] for point in curve if point.final]
        shortest, longest = np.percentile(costs, _PERCENTILES)
        limits = np.geomspace(shortest, longest, LIMITS)
        requests += [_Request(dataset, limit, float(seconds)) for limit, seconds in enumerate(limits)]
    return requests


def _prefix(curve: Curve, seconds: float) -> Curve:
    """What of a curve can be seen in ``seconds``."""
    return [point for point in curve if point.gpu_seconds <= seconds]


def _lessons(run: Curve) -> list[RecordedRun]:
    """What a run teaches: the best accuracy up to some of its points, the last one included."""
    last = len(run) - 1
    chosen = sorted({max(0, round((last + 1) * fraction) - 1) for fraction in _TAUGHT_FRACTIONS})
    return [replace(run[index], acc=run[index].best_acc) for index in chosen]
