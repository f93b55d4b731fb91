"""scikit-learn's regressors as peers of the predictors: boosted trees, extra trees, and a Gaussian process."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from benchmarks.rows import CODED, Codes, spaced
from nasoa_runtime.online.records import Curve, RecordedRun

Floats = NDArray[np.float64]
Predict = Callable[[Sequence[RecordedRun]], Floats]
Fit = Callable[[Sequence[RecordedRun], Floats, int], Predict]
"""From points, what they reached and a seed to a model."""
CURVE_POINTS = 12
"""Points of a curve that trees are fitted to."""
KERNEL_ROWS = 400
"""Outcomes to which the kernel's three parameters are fitted; the process itself sees all."""


def boosted(runs: Sequence[RecordedRun], reached: Floats, seed: int) -> Predict:
    """HistGradientBoosting; it takes words as categories."""
    codes = Codes.of(runs)
    model = HistGradientBoostingRegressor(
        max_iter=200, learning_rate=0.05, random_state=seed, categorical_features=list(CODED)
    )
    model.fit(codes.rows(runs), reached)
    return lambda asked: np.asarray(model.predict(codes.rows(asked)), np.float64)


def extra_trees(runs: Sequence[RecordedRun], reached: Floats, seed: int) -> Predict:
    """Extremely randomised trees, with a third of the columns tried at each split."""
    codes = Codes.of(runs)
    model = ExtraTreesRegressor(200, min_samples_leaf=2, max_features=1 / 3, random_state=seed)
    model.fit(codes.one_hot(runs), reached)
    return lambda asked: np.asarray(model.predict(codes.one_hot(asked)), np.float64)


def gaussian_process(runs: Sequence[RecordedRun], reached: Floats, seed: int) -> Predict:
    """A process with a Matern kernel, over columns stretched by the roots of their importance to extra trees.

    One length for each column, fitted to the marginal likelihood, takes ten times as long and predicts worse: a hundred
    lengths are too many for a few hundred outcomes.
    """
    codes = Codes.of(runs)
    rows = codes.one_hot(runs)
    forest = ExtraTreesRegressor(100, min_samples_leaf=2, max_features=1 / 3, random_state=seed).fit(rows, reached)
    stretch = np.sqrt(forest.feature_importances_ / max(float(forest.feature_importances_.mean()), 1e-12))
    middle, scale = rows.mean(axis=0), stretch / np.maximum(rows.std(axis=0), 1e-6)
    scaled = (rows - middle) * scale
    kernel: Any = (
        ConstantKernel(0.1) * Matern(rows.shape[1] ** 0.5, (0.3, 1e3), nu=2.5) + WhiteKernel(0.03, (1e-2, 1.0))
    )  # fmt: skip
    shown = np.random.default_rng(seed).permutation(len(runs))[:KERNEL_ROWS]
    mean = float(reached.mean())
    with warnings.catch_warnings():
        # Noise at its bound is meant: below, the process takes the runs' own scatter for a shape.
        warnings.simplefilter("ignore", ConvergenceWarning)
        tried = GaussianProcessRegressor(kernel).fit(scaled[shown], reached[shown] - mean)
    model = GaussianProcessRegressor(tried.kernel_, optimizer=None).fit(scaled, reached - mean)
    return lambda asked: mean + np.asarray(model.predict((codes.one_hot(asked) - middle) * scale), np.float64)


REGRESSORS: dict[str, Fit] = {
    "HistGradientBoosting": boosted,
    "extra trees": extra_trees,
    "Gaussian process": gaussian_process,
}


def fitted_to_points(curves: Sequence[Curve], seed: int) -> dict[str, Predict]:
    """Both kinds of trees, fitted to points of whole curves and the best accuracy by then."""
    points = [point for curve in curves for point in spaced(curve, CURVE_POINTS)]
    reached = np.array([point.best_acc for point in points])
    fits = {"HistGradientBoosting": boosted, "extra trees": extra_trees}
    return {name: fit(points, reached, seed) for name, fit in fits.items()}
