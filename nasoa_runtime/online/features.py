"""From a run's description to the predictor's input: logarithms, running standardisation, one column a model.

What is encoded is a table (:data:`REQUEST_FEATURES`, :data:`REPLAY_FEATURES`) of named quantities. The encoder's
state, a running mean and variance of each quantity and the tuple of column names, is part of the predictor's
state: the same weights with another standardisation would be another predictor.

A missing value is encoded as the running mean, with an indicator beside it. A model that has no column is encoded
by its descriptors alone (source accuracy, parameters, ...): that is how a model is predicted before its first outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Transform = Literal["linear", "log", "log1p"]

MODEL_VALUE = 8.0
"""What a model's column holds for that model. A one-hot of 1 is outweighed by some ten standardised quantities; the
larger value lets one outcome move its own model's offset as fast as it moves what all models share."""
PRIOR_WEIGHT = 5.0
"""How many outcomes a quantity's typical mean and spread count for, until enough have been seen."""
CLIP = 4.0
"""Standardised values end here: a request unlike all before must not throw the network off."""


@dataclass(frozen=True)
class Quantity:
    """One number that describes a run."""

    name: str
    transform: Transform
    typical: float
    """A usual value, before the transform."""
    spread: float
    """A usual standard deviation, after the transform."""
    optional: bool = False
    """May be missing (NaN, or ``None`` in a record)."""


class Described(Protocol):
    """A run as a typed record: the attribute ``model``, and one for each quantity of a table."""

    @property
    def model(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class RunDescription:
    """What is known of a fine-tuning run before it starts (SPEC 5); accuracies and similarities in [0, 1]."""

    model: str
    classes: int
    images_per_class_mean: float
    images_per_class_std: float
    iterations: int
    learning_rate: float
    frozen_stages: int
    domain_similarity: float | None = None
    source_accuracy: float | None = None
    parameters: int | None = None
    macs: int | None = None


REQUEST_FEATURES = (
    Quantity("source_accuracy", "linear", 0.75, 0.1, optional=True),
    Quantity("parameters", "log", 1e7, 1.0, optional=True),
    Quantity("macs", "log", 1e9, 1.2, optional=True),
    Quantity("domain_similarity", "linear", 0.8, 0.1, optional=True),
    Quantity("classes", "log", 20.0, 1.2),
    Quantity("images_per_class_mean", "log", 100.0, 1.2),
    Quantity("images_per_class_std", "log1p", 20.0, 1.5),
    Quantity("iterations", "log", 500.0, 1.5),
    Quantity("learning_rate", "log", 0.01, 1.5),
    Quantity("frozen_stages", "linear", 2.5, 1.7),
)
"""The features of a FineTuneRequest: :class:`RunDescription`."""

REPLAY_FEATURES = (
    Quantity("imagenet_top1", "linear", 75.0, 8.0),
    Quantity("n_classes", "log", 50.0, 1.0),
    Quantity("imgs_per_class", "log", 200.0, 1.5),
    Quantity("lr", "log", 1e-3, 2.5),
    Quantity("iterations", "log", 5000.0, 3.0),
    Quantity("batch_size", "log", 32.0, 1.6),
    Quantity("pct_to_freeze", "linear", 0.5, 0.35),
    Quantity("linear_probing", "linear", 0.5, 0.5),
)
"""The features of a recorded run, under the names of its file's columns."""


@dataclass(frozen=True)
class Batch:
    """Runs as columns: n values of each quantity (NaN where missing), and of each run the index of its model."""

    values: Mapping[str, NDArray[np.float64]]
    models: tuple[str, ...]
    model_index: NDArray[np.int64]

    @classmethod
    def of(cls, runs: Sequence[Described], table: Sequence[Quantity]) -> Batch:
        """Gather the ``table``'s quantities from the attributes of ``runs``."""
        models = tuple(dict.fromkeys(run.model for run in runs))
        position = {model: index for index, model in enumerate(models)}
        values = {
            quantity.name: np.array([_number(getattr(run, quantity.name)) for run in runs], np.float64)
            for quantity in table
        }
        return cls(values, models, np.array([position[run.model] for run in runs], np.int64))

    def __len__(self) -> int:
        return int(self.model_index.shape[0])


@dataclass(frozen=True)
class Encoder:
    """Turns a :class:`Batch` into the network's input, shape (n, width). Changes by replacement.

    Columns are the standardised quantities in the table's order, then the indicators of the optional ones, then one
    column a model, in the order in which models became known. ``layout`` names them.
    """

    table: tuple[Quantity, ...]
    counts: NDArray[np.float64]
    """Values seen of each quantity, shape (q,)."""
    means: NDArray[np.float64]
    """Their running means, after the transform."""
    squares: NDArray[np.float64]
    """Their sums of squared deviations from the running mean (Welford)."""
    models: tuple[str, ...] = ()

    @classmethod
    def new(cls, table: Sequence[Quantity]) -> Encoder:
        """An encoder that has seen nothing and knows no model."""
        return cls(tuple(table), *np.zeros((3, len(table))))

    @property
    def layout(self) -> tuple[str, ...]:
        """The columns' names."""
        names = [quantity.name for quantity in self.table]
        indicators = [f"{quantity.name}:missing" for quantity in self.table if quantity.optional]
        return (*names, *indicators, *(f"model={model}" for model in self.models))

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.table) + sum(quantity.optional for quantity in self.table) + len(self.models)

    @property
    def energy(self) -> float:
        """Expected squared norm of an encoded run: 1 for each standardised quantity, and its model's column."""
        return len(self.table) + MODEL_VALUE**2

    def grow(self, model: str) -> Encoder:
        """The encoder with one more column, the last, for ``model``."""
        if model in self.models:
            msg = f"model {model!r} already has a column"
            raise ValueError(msg)
        return replace(self, models=(*self.models, model))

    def transform(self, batch: Batch) -> NDArray[np.float64]:
        """The quantities after their transforms, shape (n, q), NaN where missing.

        Raises:
            ValueError: a value is infinite, outside its logarithm's domain, or missing where it must not be.
        """
        result = np.empty((len(batch), len(self.table)))
        for column, quantity in enumerate(self.table):
            with np.errstate(divide="ignore", invalid="ignore"):
                result[:, column] = _TRANSFORMS[quantity.transform](batch.values[quantity.name])
            missing = np.isnan(batch.values[quantity.name])
            usable = np.isfinite(result[:, column])
            if not (usable | missing if quantity.optional else usable).all():
                msg = f"quantity {quantity.name!r} has a value that can't be used"
                raise ValueError(msg)
        return result

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
        """The network's input, shape (n, width), of ``batch``; see :meth:`transform` for what is refused."""
        return self.encode_transformed(self.transform(batch), batch.models, batch.model_index)

    def encode_transformed(
        self, transformed: NDArray[np.float64], models: Sequence[str], model_index: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """The network's input, shape (n, width), of what :meth:`transform` gave."""
        centre, scale = self._centre_and_scale()
        count, quantities = transformed.shape
        result = np.zeros((count, self.width), np.float32)
        standardised = (transformed - centre) * scale
        np.clip(standardised, -CLIP, CLIP, out=standardised)
        optional = np.array([quantity.optional for quantity in self.table], np.bool_)
        indicators = int(optional.sum())
        if indicators:
            missing = np.isnan(standardised)
            standardised[missing] = 0.0
            result[:, quantities : quantities + indicators] = missing[:, optional]
        result[:, :quantities] = standardised
        position = {model: index for index, model in enumerate(self.models)}
        columns = np.array([position.get(model, -1) for model in models], np.int64)[model_index]
        rows = np.flatnonzero(columns >= 0)
        result[rows, quantities + indicators + columns[rows]] = MODEL_VALUE
        return result

    def _centre_and_scale(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Running mean and 1 / deviation of each quantity, started from what is typical of it."""
        typical, variance = _priors(self.table)
        total = self.counts + PRIOR_WEIGHT
        centre = (self.counts * self.means + PRIOR_WEIGHT * typical) / total
        return centre, 1.0 / np.sqrt((self.squares + PRIOR_WEIGHT * variance) / total)


_TRANSFORMS: dict[str, Callable[[Any], Any]] = {"linear": np.asarray, "log": np.log, "log1p": np.log1p}


def _priors(table: tuple[Quantity, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    typical = np.array([float(_TRANSFORMS[quantity.transform](quantity.typical)) for quantity in table])
    return typical, np.array([quantity.spread**2 for quantity in table])


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
