"""Requests that recorded curves can answer: a dataset and a time limit, and what its runs reach within it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nasoa_runtime.online.records import Curve

LIMITS = 4
_PERCENTILES = (5.0, 95.0)


@dataclass(frozen=True)
class RecordedRequest:
    """A dataset and a time limit."""

    dataset: str
    limit: int
    """Which of the dataset's limits, shortest first."""
    seconds: float


def by_dataset(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    """Curves by the dataset's name, in its order."""
    found: dict[str, list[Curve]] = {}
    for curve in curves:
        found.setdefault(curve[0].dataset, []).append(curve)
    return {dataset: found[dataset] for dataset in sorted(found)}


def requests_of(curves: Sequence[Curve], limits: int = LIMITS) -> list[RecordedRequest]:
    """For each dataset ``limits`` time limits, log-spaced from the 5th to the 95th percentile of its runs' costs."""
    requests = []
    for dataset, own in by_dataset(curves).items():
        shortest, longest = np.percentile([curve[-1].gpu_seconds for curve in own], _PERCENTILES)
        seconds = np.geomspace(shortest, longest, limits)
        requests += [RecordedRequest(dataset, number, float(limit)) for number, limit in enumerate(seconds)]
    return requests


def within(curves: Sequence[Curve], seconds: float) -> list[Curve]:
    """What of each curve is reached in ``seconds``; curves of which nothing is are left out."""
    prefixes = ([point for point in curve if point.gpu_seconds <= seconds] for curve in curves)
    return [prefix for prefix in prefixes if prefix]


def regret(prefixes: Sequence[Curve], reached: float) -> float:
    """The best accuracy of all ``prefixes`` less what was reached, over best less worst; 0 where they are equal."""
    ends = [prefix[-1].best_acc for prefix in prefixes]
    best, worst = max(ends), min(ends)
    return (best - reached) / (best - worst) if best > worst else 0.0
