"""What experts are worth on datasets that they have not seen: each part of the datasets is left out once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.experts import NetworkExpert, Target
from nasoa_runtime.online.lessons import Lessons, folds_of, network_lessons
from nasoa_runtime.online.recorded_features import CODED
from nasoa_runtime.online.records import Curve
from nasoa_runtime.online.trees import fit

Floats = NDArray[np.float64]
_LEAST_LOSS = 1e-6


@dataclass(frozen=True)
class LeftOut:
    """What was seen on the datasets that were left out."""

    slope: float
    """Of the line from a place within a request to an accuracy."""
    intercept: float
    weights: Floats
    """Of points, order and network, shape (3,)."""


def judged(curves: Sequence[Curve], lessons: Lessons, seed: int, target: Target) -> LeftOut:
    """Fit experts without each part of the datasets, and ask them about its requests."""
    truth, points, places, networks = [], [], [], []
    for left_out in folds_of(lessons.datasets):
        # Of a single dataset nothing can be left out.
        out = left_out if len(left_out) < len(lessons.datasets) else ()
        seen, placed = ~np.isin(lessons.points_of, out), ~np.isin(lessons.placed_of, out)
        asked = np.isin(lessons.placed_of, left_out)
        questions = lessons.placed[asked]
        by_points = fit(lessons.points[seen], lessons.reached[seen], CODED, seed, members=1)
        by_order = fit(lessons.placed[placed], lessons.places[placed], CODED, seed, members=1)
        network = taught([curve for curve in curves if curve[0].dataset not in out], seed, target)
        truth.append(lessons.placed_reached[asked])
        points.append(by_points.predict(questions))
        places.append(by_order.predict(questions))
        networks.append(network.predict([end for end, wanted in zip(lessons.ends, asked, strict=True) if wanted]))
    reached, order = np.concatenate(truth), np.concatenate(places)
    slope, intercept = line(order, reached)
    predicted = np.array([np.concatenate(points), intercept + slope * order, np.concatenate(networks)])
    losses = np.mean((predicted - reached) ** 2, axis=1)
    return LeftOut(slope, intercept, likelihoods(losses, len(lessons.datasets)))


def taught(curves: Sequence[Curve], seed: int, target: Target) -> NetworkExpert:
    """A network that has learned points of ``curves``, in a shuffled order."""
    points = network_lessons(curves)
    order = np.random.default_rng(seed).permutation(len(points))
    shuffled = [points[index] for index in order]
    return NetworkExpert.new(seed).taught(shuffled, np.array([target(point) for point in shuffled]))


def line(places: Floats, reached: Floats) -> tuple[float, float]:
    """Slope and intercept of least squares; flat where the places don't tell runs apart, or mislead."""
    spread = float(np.var(places))
    covariance = float(np.mean((places - places.mean()) * (reached - reached.mean())))
    slope = max(covariance / spread, 0.0) if spread > 0 else 0.0
    return slope, float(reached.mean() - slope * places.mean())


def likelihoods(losses: Floats, datasets: int) -> Floats:
    """Weights, with sum 1, of experts that lost ``losses``, shape (k,), mean squares over so many datasets.

    The likelihood of normal errors whose variance is the loss, to which each dataset is one observation: runs on one
    dataset are wrong together. Experts that are level keep level weights, which a fit of weights to few datasets does
    not: it hands nearly all to whichever happens to be ahead, and two that err differently choose better than one.
    """
    logarithms = -0.5 * datasets * np.log(np.maximum(losses, _LEAST_LOSS))
    weights: Floats = np.exp(logarithms - logarithms.max())
    weights /= weights.sum()
    return weights
