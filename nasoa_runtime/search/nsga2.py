"""NSGA-II's ranking and selection (Deb et al. 2002), on two or more objectives to minimise.

Ranks come from moocore. A row with an infinite objective is a failed evaluation: all of them share one rank behind
everybody else's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import moocore
import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.search.individuals import Individual, costs, oldest_first

T = TypeVar("T")


def rank(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Non-dominated ranks, shape (n,), of ``points``, shape (n, objectives): 0 is the Pareto front."""
    ranks = np.zeros(len(points), np.int64)
    works = np.isfinite(points).all(axis=1)
    if works.any():
        ranks[works] = moocore.pareto_rank(points[works])
        ranks[~works] = ranks[works].max() + 1
    return ranks


def crowding_distance(points: NDArray[np.float64], ranks: NDArray[np.int64]) -> NDArray[np.float64]:
    """Crowding distance within each rank, shape (n,): infinite at the ends of an objective.

    Copies of a point are no further apart than they are from themselves: the first one has the distance of the
    point, the others have 0. So the distances do not depend on the order of the points, copies aside.
    """
    distances = np.zeros(len(points))
    for number in np.unique(ranks):
        members = np.flatnonzero(ranks == number)
        if not np.isfinite(points[members]).all():
            continue
        _, first = np.unique(points[members], axis=0, return_index=True)
        members = members[np.sort(first)]
        for objective in range(points.shape[1]):
            ordered = members[np.argsort(points[members, objective], kind="stable")]
            values = points[ordered, objective]
            extent = values[-1] - values[0]
            distances[ordered[[0, -1]]] = np.inf
            if extent > 0:
                distances[ordered[1:-1]] += (values[2:] - values[:-2]) / extent
    return distances


def select_elite(individuals: Sequence[Individual], size: int) -> tuple[Individual, ...]:
    """The best ``size`` individuals, best first: by rank, then by crowding distance, then the older one."""
    members = oldest_first(individuals)
    points = costs(members)
    ranks = rank(points)
    distances = crowding_distance(points, ranks)
    order = sorted(range(len(members)), key=lambda index: (ranks[index], -distances[index]))
    return tuple(members[index] for index in order[:size])


def binary_tournament(elite: Sequence[T], random: np.random.Generator) -> T:
    """The better of two members of ``elite`` (best first), drawn without replacement where there are two."""
    if len(elite) < 2:
        return elite[0]
    return elite[int(random.choice(len(elite), size=2, replace=False).min())]
