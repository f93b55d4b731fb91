"""What experts are worth on datasets that they have not seen: each part of the datasets is left out once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.experience import Experience
from nasoa_runtime.online.experts import NetworkExpert
from nasoa_runtime.online.lessons import Lessons, folds_of, network_lessons
from nasoa_runtime.online.trees import fit
from nasoa_runtime.online.vocabulary import CODED, Vocabulary

Floats = NDArray[np.float64]
_LEAST_LOSS = 1e-6


@dataclass(frozen=True)
class LeftOut:
    """What was seen on the datasets that were left out."""

    slope: float
    """Of the line from a place within a request to an accuracy."""
    intercept: float
    asked: Floats
    """The trees' input of the runs that were asked about, shape (n, columns)."""
    datasets_asked: NDArray[np.object_]
    """Of each of them its dataset, shape (n,)."""
    reached: Floats
    """What they reached, shape (n,)."""
    predicted: Floats
    """What points, order and, where it was asked, network predicted of them, shape (k, n)."""

    @property
    def weights(self) -> Floats:
        """Weights of the experts, shape (k,), by what they lost."""
        losses = np.mean((self.predicted - self.reached) ** 2, axis=1)
        return likelihoods(losses, len(set(self.datasets_asked)))

    @property
    def mixed(self) -> Floats:
        """What the experts predict together, shape (n,)."""
        mixed: Floats = self.weights @ self.predicted
        return mixed


def judged(
    known: Experience, lessons: Lessons, vocabulary: Vocabulary, seed: int, *, with_network: bool = False
) -> LeftOut:
    """Fit experts without each part of the datasets, and ask them about its requests.

    The network takes most of the time, and is needed for a start's weights alone.
    """
    described, placed = vocabulary.encode(lessons.points), vocabulary.encode(lessons.placed)
    points_of = lessons.points.datasets
    rows, points, orders, networks = [], [], [], []
    for seen, asked, out in _folds(lessons):
        rest = ~np.isin(points_of, out)
        by_points = fit(described[rest], lessons.reached[rest], CODED, seed, 1, lessons.weights[rest])
        by_order = fit(placed[seen], lessons.places[seen], CODED, seed, 1, lessons.placed_weights[seen])
        rows.append(np.flatnonzero(asked))
        points.append(by_points.predict(placed[asked]))
        orders.append(by_order.predict(placed[asked]))
        if with_network:
            others = known.subset(~np.isin(known.runs.datasets, out))
            network = NetworkExpert.new(seed).taught(*network_lessons(others, seed))
            networks.append(network.predict(lessons.placed.take(asked)))
    order, numbers = np.concatenate(orders), np.concatenate(rows)
    reached = lessons.placed_reached[numbers]
    slope, intercept = line(order, reached)
    predicted = [np.concatenate(points), intercept + slope * order]
    predicted += [np.concatenate(networks)] if with_network else []
    return LeftOut(slope, intercept, placed[numbers], lessons.placed.datasets[numbers], reached, np.array(predicted))


def _folds(lessons: Lessons) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_], tuple[str, ...]]]:
    """For each part of the datasets: which placed points are of others, which are its own, and the part."""
    of = lessons.placed.datasets
    datasets = sorted(set(of))
    found = []
    for part in folds_of(datasets):
        # Of a single dataset nothing can be left out.
        out = part if len(part) < len(datasets) else ()
        found.append((~np.isin(of, out), np.isin(of, part), out))
    return found


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
