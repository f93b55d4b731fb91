"""From described runs to the predictor's input: logarithms, running standardisation, one column a model.

The encoder's state, a running mean and variance of each feature and the tuple of column names, is part of the
predictor's state: the same weights with another standardisation would be another predictor.

A missing value is encoded as the running mean, with an indicator beside it. A model that has no column is encoded
by its descriptors alone (source accuracy, parameters, ...): that is how a model is predicted before its first outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.description import Batch
from nasoa_runtime.online.errors import InvalidDescription
from nasoa_runtime.online.features import FeatureTable

MODEL_VALUE = 8.0
"""What a model's column holds for that model. A one-hot of 1 is outweighed by some ten standardised quantities; the
larger value lets one outcome move its own model's offset as fast as it moves what all models share."""
PRIOR_WEIGHT = 5.0
"""How many outcomes a feature's typical mean and spread count for, until enough have been seen."""
CLIP = 4.0
"""Standardised values end here: a request unlike all before must not throw the network off."""


@dataclass(frozen=True)
class Encoder:
    """Turns a :class:`Batch` into the network's input, shape (n, width). Changes by replacement.

    Columns are the standardised features in the table's order, then the indicators of the optional ones, then one
    column a model, in the order in which models became known. ``layout`` names them.
    """

    table: FeatureTable
    counts: NDArray[np.float64]
    """Values seen of each feature, shape (q,)."""
    means: NDArray[np.float64]
    """Their running means, after the transform."""
    squares: NDArray[np.float64]
    """Their sums of squared deviations from the running mean (Welford)."""
    models: tuple[str, ...] = ()

    @classmethod
    def new(cls, table: FeatureTable) -> Encoder:
        """An encoder that has seen nothing and knows no model."""
        return cls(table, *np.zeros((3, len(table))))

    @property
    def layout(self) -> tuple[str, ...]:
        """The columns' names."""
        names = [feature.name for feature in self.table]
        indicators = [f"{feature.name}:missing" for feature in self.table if feature.optional]
        return (*names, *indicators, *(f"model={model}" for model in self.models))

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.table) + sum(feature.optional for feature in self.table) + len(self.models)

    @property
    def energy(self) -> float:
        """Expected squared norm of an encoded run: 1 for each standardised feature, and its model's column."""
        return len(self.table) + MODEL_VALUE**2

    def grow(self, model: str) -> Encoder:
        """The encoder with one more column, the last, for ``model``."""
        if model in self.models:
            msg = f"model {model!r} already has a column"
            raise ValueError(msg)
        return replace(self, models=(*self.models, model))

    def transform(self, batch: Batch) -> NDArray[np.float64]:
        """The features after their transforms; see :func:`apply_transforms`."""
        return apply_transforms(self.table, batch)

    def observe(self, transformed: NDArray[np.float64]) -> Encoder:
        """The encoder whose running statistics also cover ``transformed``, shape (n, q)."""
        counts, means, squares = self.counts.copy(), self.means.copy(), self.squares.copy()
        for row in transformed:
            present = ~np.isnan(row)
            counts += present
            deviation = np.where(present, row - means, 0.0)
            means += deviation / np.maximum(counts, 1.0)
            squares += deviation * np.where(present, row - means, 0.0)
        return replace(self, counts=counts, means=means, squares=squares)

    def encode(self, batch: Batch) -> NDArray[np.float32]:
        """The network's input, shape (n, width), of ``batch``; see :func:`apply_transforms` for what is refused."""
        return self.encode_transformed(self.transform(batch), batch.models, batch.model_index)

    def encode_transformed(
        self, transformed: NDArray[np.float64], models: Sequence[str], model_index: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """The network's input, shape (n, width), of what :func:`apply_transforms` gave."""
        centre, scale = self._centre_and_scale()
        count, features = transformed.shape
        result = np.zeros((count, self.width), np.float32)
        standardised = (transformed - centre) * scale
        np.clip(standardised, -CLIP, CLIP, out=standardised)
        optional = np.array([feature.optional for feature in self.table], np.bool_)
        indicators = int(optional.sum())
        if indicators:
            missing = np.isnan(standardised)
            standardised[missing] = 0.0
            result[:, features : features + indicators] = missing[:, optional]
        result[:, :features] = standardised
        position = {model: index for index, model in enumerate(self.models)}
        columns = np.array([position.get(model, -1) for model in models], np.int64)[model_index]
        rows = np.flatnonzero(columns >= 0)
        result[rows, features + indicators + columns[rows]] = MODEL_VALUE
        return result

    def _centre_and_scale(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Running mean and 1 / deviation of each feature, started from what is typical of it."""
        typical, variance = _priors(self.table)
        total = self.counts + PRIOR_WEIGHT
        centre = (self.counts * self.means + PRIOR_WEIGHT * typical) / total
        return centre, 1.0 / np.sqrt((self.squares + PRIOR_WEIGHT * variance) / total)


def apply_transforms(table: FeatureTable, batch: Batch) -> NDArray[np.float64]:
    """The ``table``'s features after their transforms, shape (n, q), NaN where missing.

    Raises:
        InvalidDescription: a value is infinite, outside its logarithm's domain, or missing where it must not be.
    """
    result = np.empty((len(batch), len(table)))
    for column, feature in enumerate(table):
        values = batch.column(feature)
        with np.errstate(divide="ignore", invalid="ignore"):
            result[:, column] = _TRANSFORMS[feature.transform](values)
        usable = np.isfinite(result[:, column])
        if not (usable | np.isnan(values) if feature.optional else usable).all():
            raise InvalidDescription(feature.name, "has a value that can't be used")
    return result


SMALLEST = 1e-7
"""What a quantity that spans decades and may be 0 counts as at least."""
_TRANSFORMS: dict[str, Callable[[Any], Any]] = {
    "linear": np.asarray,
    "log": np.log,
    "log1p": np.log1p,
    "decades": lambda values: np.log(np.maximum(values, SMALLEST)),
}


def _priors(table: FeatureTable) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    typical = np.array([float(_TRANSFORMS[feature.transform](feature.typical)) for feature in table])
    return typical, np.array([feature.spread**2 for feature in table])
