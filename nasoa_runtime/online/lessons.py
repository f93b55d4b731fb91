"""What experts are fitted to: points of recorded curves, described and with what they reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.experts import Target
from nasoa_runtime.online.promotion import log_spaced
from nasoa_runtime.online.recorded_features import Vocabulary
from nasoa_runtime.online.records import Curve, RecordedRun
from nasoa_runtime.online.requests import by_dataset, requests_of, within

Floats = NDArray[np.float64]
CURVE_POINTS = 12
"""Points of a curve that trees are fitted to, evenly in the logarithm."""
NETWORK_POINTS = 4
"""Points of a curve that the network learns."""
ORDER_LIMITS = 12
"""Time limits of a dataset, within each of which its runs are put in order."""
FOLDS = 4
"""Parts of the datasets, each of which is left out once."""


@dataclass(frozen=True)
class Lessons:
    """Described points, shape (n, width), for trees that predict accuracies and for trees that predict an order."""

    datasets: tuple[str, ...]
    points: Floats
    reached: Floats
    """What each of ``points`` reached."""
    points_of: NDArray[np.str_]
    """Their datasets."""
    ends: Sequence[RecordedRun]
    """The points of ``placed``."""
    placed: Floats
    """Where runs end at one of their dataset's limits."""
    places: Floats
    """What each of ``placed`` reached, between 0 for the worst of its request and 1 for the best."""
    placed_reached: Floats
    placed_of: NDArray[np.str_]

    @classmethod
    def of(cls, curves: Sequence[Curve], vocabulary: Vocabulary, target: Target) -> Lessons:
        """The lessons of ``curves``."""
        points = [curve[index] for curve in curves for index in log_spaced(len(curve), CURVE_POINTS)]
        placed: list[RecordedRun] = []
        places: list[float] = []
        for own in by_dataset(curves).values():
            for request in requests_of(own, ORDER_LIMITS):
                ends = [prefix[-1] for prefix in within(own, request.seconds)]
                values = np.array([target(end) for end in ends])
                # Equal runs have no order.
                if len(ends) > 1 and np.ptp(values) > 0:
                    placed += ends
                    places += ((values - values.min()) / np.ptp(values)).tolist()
        if not placed:
            placed, places = points, [0.5] * len(points)
        return cls(
            datasets=tuple(by_dataset(curves)),
            points=vocabulary.describe(points),
            reached=np.array([target(point) for point in points]),
            points_of=np.array([point.dataset for point in points]),
            ends=placed,
            placed=vocabulary.describe(placed),
            places=np.array(places),
            placed_reached=np.array([target(point) for point in placed]),
            placed_of=np.array([point.dataset for point in placed]),
        )


def folds_of(datasets: Sequence[str]) -> list[tuple[str, ...]]:
    """At most :data:`FOLDS` parts of the datasets."""
    return [tuple(datasets[part::FOLDS]) for part in range(min(FOLDS, len(datasets)))]


def network_lessons(curves: Sequence[Curve]) -> list[RecordedRun]:
    """The points that the network learns."""
    return [curve[index] for curve in curves for index in log_spaced(len(curve), NETWORK_POINTS)]
