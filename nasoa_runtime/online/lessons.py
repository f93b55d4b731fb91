"""What experts are fitted to: points of curves, described and with what they reached."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.description import Batch
from nasoa_runtime.online.experience import Experience

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
CURVE_POINTS = 12
"""Points of a curve that trees are fitted to, evenly in the logarithm."""
NETWORK_POINTS = 4
"""Points of a curve that the network learns."""
ORDER_LIMITS = 12
"""Time limits of a dataset, within each of which its recorded runs are put in order."""
PERCENTILES = (5.0, 95.0)
"""Of what a dataset's runs cost: the shortest and the longest of these limits."""
FOLDS = 4
"""Parts of the datasets, each of which is left out once."""


@dataclass(frozen=True)
class Lessons:
    """Described points with what they reached, and with their places within a request."""

    points: Batch
    reached: Floats
    """What each of ``points`` reached."""
    weights: Floats
    """How much each of ``points`` counts: a run counts as much with one point as with many."""
    placed: Batch
    """Where runs ended that were offered the same dataset and time."""
    places: Floats
    """What each of ``placed`` reached, between 0 for the worst of its request and 1 for the best."""
    placed_reached: Floats
    placed_weights: Floats
    """How much each of ``placed`` counts: a run of one request as much as a recorded one within all time limits."""

    @classmethod
    def of(cls, known: Experience) -> Lessons:
        """The lessons of all runs."""
        points = known.spread(CURVE_POINTS)
        of_run = known.run[points]
        weights = CURVE_POINTS / np.bincount(of_run, minlength=len(known))[of_run]
        placed: list[Indices] = [np.empty(0, np.int64)]
        places: list[Floats] = [np.empty(0)]
        for ends in (*_within_limits(known), *_within_requests(known)):
            values = known.reached[ends]
            # Equal runs have no order.
            if len(ends) > 1 and np.ptp(values) > 0:
                placed.append(ends)
                places.append((values - values.min()) / np.ptp(values))
        all_placed, all_places = np.concatenate(placed), np.concatenate(places)
        if not len(all_placed):
            all_placed, all_places = points, np.full(len(points), 0.5)
        once = known.requests[known.run[all_placed]] != ""
        return cls(
            known.at(points),
            known.reached[points],
            weights,
            known.at(all_placed),
            all_places,
            known.reached[all_placed],
            np.where(once, float(ORDER_LIMITS), 1.0),
        )


def _within_limits(known: Experience) -> Iterator[Indices]:
    """Of each dataset's recorded runs, the last points that are reached within each of several time limits."""
    recorded = known.requests[known.run] == ""
    for dataset in sorted(set(known.runs.datasets)):
        own = np.flatnonzero(recorded & (known.runs.datasets == dataset)[known.run] & ~np.isnan(known.seconds))
        if not len(own):
            continue
        runs, seconds = known.run[own], known.seconds[own]
        costs = seconds[np.append(np.diff(runs) > 0, True)]
        shortest, longest = np.percentile(costs, PERCENTILES)
        for limit in np.geomspace(shortest, longest, ORDER_LIMITS):
            reached = own[seconds <= limit]
            yield reached[np.append(np.diff(known.run[reached]) > 0, True)] if len(reached) else reached


def _within_requests(known: Experience) -> Iterator[Indices]:
    """The ends of each request's runs."""
    ends, requests = known.ends, known.requests
    for request in dict.fromkeys(requests[requests != ""]):
        yield ends[requests == request]


def folds_of(datasets: Sequence[str]) -> list[tuple[str, ...]]:
    """At most :data:`FOLDS` parts of the datasets."""
    return [tuple(datasets[part::FOLDS]) for part in range(min(FOLDS, len(datasets)))]


def network_lessons(known: Experience, seed: int) -> tuple[Batch, Floats]:
    """The points that the network learns with what they reached, in an order drawn from ``seed``."""
    points = known.spread(NETWORK_POINTS)
    points = points[np.random.default_rng(seed).permutation(len(points))]
    return known.at(points), known.reached[points]
