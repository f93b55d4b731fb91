"""The Pareto front of a search (maximise accuracy, minimise step time): its size, its worth, and who stands for it.

Hypervolume is the area of (step seconds, accuracy) that the front dominates, bounded by the reference point: accuracy
0 and ``reference_step_seconds``. Members slower than that add nothing. Figures compare only under one reference:
give T_m where there is one; without it, it is 1.1 times the slowest member of the first generation, which later
generations don't move.
"""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.search.individuals import Individual, costs, oldest_first
from nasoa_runtime.search.nsga2 import crowding_distance, rank

REFERENCE_MARGIN = 1.1
REFERENCE_ERROR = 1.0
"""Accuracy 0, as an error."""


def pareto_front(individuals: Sequence[Individual]) -> tuple[Individual, ...]:
    """Those that nobody dominates, most accurate first; of several with the same figures, the oldest."""
    works = [individual for individual in oldest_first(individuals) if individual.accuracy is not None]
    if not works:
        return ()
    keep = moocore.is_nondominated(costs(works))
    front = [individual for individual, kept in zip(works, keep, strict=True) if kept]
    return tuple(sorted(front, key=lambda individual: -(individual.accuracy or 0.0)))


def reference_step_seconds(individuals: Sequence[Individual]) -> float:
    """The reference without a T_m: 1.1 times the slowest member of the first generation."""
    first = min(individual.generation for individual in individuals)
    return REFERENCE_MARGIN * max(i.step_seconds for i in individuals if i.generation == first)


def hypervolume(individuals: Sequence[Individual], reference_seconds: float | None = None) -> float:
    """Area that the front dominates, in seconds (accuracy has no unit); 0 without a front."""
    front = pareto_front(individuals)
    if not front:
        return 0.0
    reference = reference_seconds or reference_step_seconds(individuals)
    return float(moocore.hypervolume(costs(front), ref=[REFERENCE_ERROR, reference]))


def largest_contribution(
    individuals: Sequence[Individual], count: int, reference_seconds: float | None = None
) -> tuple[Individual, ...]:
    """The ``count`` front members without which the hypervolume would shrink most, the largest first."""
    front = pareto_front(individuals)
    if not front:
        return ()
    reference = reference_seconds or reference_step_seconds(individuals)
    contributions = moocore.hv_contributions(costs(front), ref=[REFERENCE_ERROR, reference])
    order = sorted(range(len(front)), key=lambda i: (-contributions[i], front[i].step_seconds))
    return tuple(front[i] for i in order[:count])


def best_spread(individuals: Sequence[Individual], count: int) -> tuple[tuple[Individual, int], ...]:
    """``count`` members of the front, spread over it as evenly as it allows, fastest first, each with its rank, 0.

    The front's most crowded member is taken out until ``count`` are left, distances anew each time, so that both
    ends stay (of two, the most accurate is the last one). Step times count by their logarithm: a zoo serves limits
    that span decades. Where the front is too small, the next ranks fill up.
    """
    chosen: list[tuple[Individual, int]] = []
    rest = [individual for individual in individuals if individual.accuracy is not None]
    number = 0
    while rest and len(chosen) < count:
        ranks = rank(costs(rest))
        layer = [individual for individual, own in zip(rest, ranks, strict=True) if own == 0]
        chosen += [(individual, number) for individual in _spread(layer, count - len(chosen))]
        rest = [individual for individual, own in zip(rest, ranks, strict=True) if own != 0]
        number += 1
    return tuple(chosen)


def _spread(layer: Sequence[Individual], count: int) -> tuple[Individual, ...]:
    """``count`` of ``layer``, whose members don't dominate each other, fastest first."""
    members = sorted(oldest_first(layer), key=lambda individual: (individual.step_seconds, individual.accuracy or 0.0))
    while len(members) > max(count, 0):
        points = _logarithmic(costs(members))
        distances = crowding_distance(points, np.zeros(len(members), np.int64))
        # At equal distance the slower and less crowded stay: ends are infinite, and the fastest end goes first.
        members.pop(int(np.argmin(distances)))
    return tuple(members)


def _logarithmic(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([points[:, 0], np.log(points[:, 1])])
