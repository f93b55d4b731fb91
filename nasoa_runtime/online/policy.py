"""Replaying whole requests over recorded curves: choose, be charged, learn what was run (``nasoa policy replay``).

For each dataset, four time limits from the 5th to the 95th percentile of what its finished runs cost. A recorded
curve is a candidate as far as the limit reaches, so every choice's true accuracy is known, and with it the regret.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nasoa_runtime.online.replay import Learner, RecordedRun, UnreadableRecords, read_records

LIMITS = 4
STRATEGIES = ("OneShot",)
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
    strategy: Literal["OneShot"] | str = "OneShot",  # noqa: PYI051 - the names are what one may write
    algorithm: str = "adaptive-mlp",
    seed: int = 0,
) -> dict[str, Any]:
    """Serve a request for every dataset and time limit of ``records``, in an order shuffled by ``seed``.

    Args:
        records: CSV file whose curves are the candidates.
        warm_start: CSV file whose curves are learned first.
        strategy: ``OneShot`` runs the candidate that is predicted best, once.
        algorithm: a name that :func:`~nasoa_runtime.online.predictor.make_predictor` knows.
        seed: of the orders and of the network's initialisation.

    Returns:
        ``requests``, ``mean_accuracy``, ``mean_regret``, ``by_limit`` (mean regret at each of the four, shortest
        first), ``limit_exceeded`` (runs that cost more than their limit).
    """
    if strategy not in STRATEGIES:
        msg = f"strategy {strategy!r} can't be replayed: write OneShot"
        raise ValueError(msg)
    learner = Learner(algorithm, seed)
    taught = [point for curve in _curves(warm_start) for point in _lessons(curve)]
    learner.run(taught, seed)
    curves: dict[str, list[list[RecordedRun]]] = {}
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
        run = prefixes[_best(learner, prefixes)]
        accuracies = [prefix[-1].best_acc for prefix in prefixes]
        best, worst, got = max(accuracies), min(accuracies), run[-1].best_acc
        regrets[request.limit].append((best - got) / (best - worst) if best > worst else 0.0)
        reached.append(got)
        exceeded += run[-1].gpu_seconds > request.seconds
        for point in _lessons(run):
            learner.learn_run(point)
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


def _curves(path: Path | str) -> list[list[RecordedRun]]:
    """Finished runs without linear probing, each in the order of its iterations."""
    curves: dict[str, list[RecordedRun]] = {}
    for record in read_records(path):
        if not record.linear_probing:
            curves.setdefault(record.curve, []).append(record)
    ordered = (sorted(curve, key=lambda point: point.iterations) for curve in curves.values())
    return [curve for curve in ordered if any(point.final for point in curve)]


def _requests(curves: dict[str, list[list[RecordedRun]]]) -> list[_Request]:
    requests = []
    for dataset in sorted(curves):
        costs = [point.gpu_seconds for curve in curves[dataset] for point in curve if point.final]
        shortest, longest = np.percentile(costs, _PERCENTILES)
        limits = np.geomspace(shortest, longest, LIMITS)
        requests += [_Request(dataset, limit, float(seconds)) for limit, seconds in enumerate(limits)]
    return requests


def _prefix(curve: list[RecordedRun], seconds: float) -> list[RecordedRun]:
    """What of a curve can be seen in ``seconds``."""
    return [point for point in curve if point.gpu_seconds <= seconds]


def _best(learner: Learner, prefixes: Sequence[list[RecordedRun]]) -> int:
    """Index of the run with the highest prediction, the cheapest of equals."""
    ends = [prefix[-1] for prefix in prefixes]
    scores = learner.scores(ends)
    return int(np.lexsort((np.array([end.gpu_seconds for end in ends]), -scores))[0])


def _lessons(run: list[RecordedRun]) -> list[RecordedRun]:
    """What a run teaches: the best accuracy up to some of its points, the last one included."""
    last = len(run) - 1
    chosen = sorted({max(0, round((last + 1) * fraction) - 1) for fraction in _TAUGHT_FRACTIONS})
    return [replace(run[index], acc=run[index].best_acc) for index in chosen]
