"""A run's learning curve as it is reported: few points, evenly spread over the logarithm of the steps."""

from __future__ import annotations

from collections.abc import Sequence

from nasoa_runtime.boundary import MOST_POINTS, CurvePoint

Curve = tuple[CurvePoint, ...]


def extended(curve: Curve, point: CurvePoint) -> Curve:
    """The curve with one point more at its end; one of equally many steps is replaced."""
    earlier = curve[:-1] if curve and curve[-1].steps == point.steps else curve
    return thinned((*earlier, point))


def thinned(curve: Sequence[CurvePoint], most: int = MOST_POINTS) -> Curve:
    """At most so many points: the first and the last one stay, and of the others those with the most room around them.

    Room is the ratio of the steps of both neighbours.
    """
    points = list(curve)
    while len(points) > max(most, 2):
        crowded = min(range(1, len(points) - 1), key=lambda place: points[place + 1].steps / points[place - 1].steps)
        del points[crowded]
    return tuple(points)
