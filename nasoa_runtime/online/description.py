"""Describing runs by a table of features: the same for what is predicted, what is recorded and what is learned.

:func:`describe` is the one place where a request's runs are described, and :func:`describe_rows` the one for runs that
were recorded elsewhere. Thousands of candidates are described at once, as columns; one run is a batch of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.boundary import DatasetStatistics, Regime
from nasoa_runtime.documents.outcomes import ModelFacts, RunDescription
from nasoa_runtime.online.errors import InvalidDescription
from nasoa_runtime.online.features import FeatureTable

Floats = NDArray[np.float64]
Words = NDArray[np.str_]
WORDS = ("optimizer", "augmentation")
"""Columns of a regime that hold words."""
DEFAULTS: Mapping[str, Any] = {
    name: Regime.model_fields[name].default
    for name in (
        "optimizer", "momentum", "weight_decay", "layer_decay", "label_smoothing", "mixup", "mirroring",
        "augmentation", "ema", "linear_probe",
    )
}  # fmt: skip
"""What a regime says of itself where it says nothing else."""


class Row(Protocol):
    """A run of a file of recorded runs."""

    @property
    def model(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class Regimes:
    """How n runs are trained, as columns of shape (n,): what a :class:`~nasoa_runtime.boundary.Regime` says of each.

    Build it with :meth:`of_columns` or :meth:`of`, which fill in what a regime's defaults say.
    """

    model: NDArray[np.int64]
    """Index of each run's model."""
    learning_rate: Floats
    """Peak of the schedule."""
    frozen_stages: Floats
    iterations: Floats
    """Steps of a run that is planned; those that were done, of one that was."""
    planned_iterations: Floats
    """Steps over which the schedule is laid."""
    annealed: Floats
    """1 where the learning rate has come down to its end at ``iterations``, else 0: a run that is planned, or that was
    done as planned, has; one that a race has stopped has not."""
    batch_size: Floats
    optimizer: Words
    momentum: Floats
    weight_decay: Floats
    layer_decay: Floats
    label_smoothing: Floats
    mixup: Floats
    mirroring: Floats
    augmentation: Words
    ema: Floats
    linear_probe: Floats

    def __len__(self) -> int:
        return int(self.model.shape[0])

    @classmethod
    def of_columns(
        cls,
        model: NDArray[np.int64],
        learning_rate: Floats,
        frozen_stages: Floats,
        iterations: Floats,
        batch_size: float | Floats,
        **others: Any,
    ) -> Regimes:
        """Runs by columns; of those that are not named, each run has what a regime says by default.

        Args:
            model: index of each run's model, shape (n,).
            learning_rate: peak of the schedule.
            frozen_stages: as in a regime.
            iterations: steps, planned or done.
            batch_size: of each run, or of all.
            others: any of the other columns, of shape (n,) or one value for all. Without ``planned_iterations`` and
                ``annealed`` the runs are planned for just these steps.
        """
        columns = {**DEFAULTS, "planned_iterations": iterations, "annealed": 1.0, "batch_size": batch_size, **others}
        full: dict[str, Any] = {
            name: np.broadcast_to(np.asarray(value, np.str_ if name in WORDS else np.float64), model.shape)
            for name, value in columns.items()
        }
        rate, frozen, steps = (np.asarray(column, np.float64) for column in (learning_rate, frozen_stages, iterations))
        return cls(model, rate, frozen, steps, **full)

    @classmethod
    def of(cls, regimes: Sequence[Regime], batch_size: int, models: Sequence[int] | None = None) -> Regimes:
        """Runs as planned.

        Args:
            regimes: one for each run.
            batch_size: of regimes that name none.
            models: index of each run's model; without it all are of the first.
        """
        columns = {name: [getattr(regime, name) for regime in regimes] for name in DEFAULTS}
        return cls.of_columns(
            np.zeros(len(regimes), np.int64) if models is None else np.array(models, np.int64),
            np.array([regime.learning_rate for regime in regimes], np.float64),
            np.array([regime.frozen_stages for regime in regimes], np.float64),
            np.array([regime.steps for regime in regimes], np.float64),
            np.array([regime.batch_size or batch_size for regime in regimes], np.float64),
            **columns,
        )


@dataclass(frozen=True)
class Batch:
    """Described runs as columns: n values of each feature (NaN where missing), and of each run its model's index."""

    values: Mapping[str, Floats]
    models: tuple[str, ...]
    model_index: NDArray[np.int64]

    @classmethod
    def of(cls, runs: Sequence[RunDescription], table: FeatureTable) -> Batch:
        """Gather recorded descriptions, each of which must have the ``table``'s features and no others.

        Raises:
            InvalidDescription: a feature is absent, or there is one that the table does not have.
        """
        names = tuple(feature.name for feature in table)
        for run in runs:
            for name in names:
                if name not in run.values:
                    raise InvalidDescription(name, f"is absent from the description of a run of model {run.model!r}")
            for name in run.values:
                if name not in names:
                    raise InvalidDescription(name, f"of a run of model {run.model!r} is unknown to the predictor")
        models = tuple(dict.fromkeys(run.model for run in runs))
        position = {model: index for index, model in enumerate(models)}
        # numpy reads None as NaN.
        values = {name: np.array([run.values[name] for run in runs], np.float64) for name in names}
        return cls(values, models, np.array([position[run.model] for run in runs], np.int64))

    def __len__(self) -> int:
        return int(self.model_index.shape[0])

    def descriptions(self) -> tuple[RunDescription, ...]:
        """The runs one by one, as they are recorded; :meth:`of` is the way back."""
        columns = {name: [None if np.isnan(v) else float(v) for v in column] for name, column in self.values.items()}
        return tuple(
            RunDescription(model=self.models[index], values={name: column[run] for name, column in columns.items()})
            for run, index in enumerate(self.model_index)
        )


def describe(table: FeatureTable, models: Sequence[ModelFacts], dataset: DatasetStatistics, regimes: Regimes) -> Batch:
    """Describe runs on one dataset, of any number of models."""
    index = regimes.model
    sources = {"model": _Among(models, index), "dataset": _Among((dataset,), np.zeros_like(index)), "regime": regimes}
    return _described(table, sources, tuple(model.name for model in models), index)


def describe_rows(table: FeatureTable, rows: Sequence[Row]) -> Batch:
    """Describe runs that were recorded elsewhere, by a table whose features are all read from the rows."""
    models = tuple(dict.fromkeys(row.model for row in rows))
    position = {model: index for index, model in enumerate(models)}
    index = np.array([position[row.model] for row in rows], np.int64)
    return _described(table, {"row": _Among(rows, np.arange(len(rows)))}, models, index)


@dataclass(frozen=True)
class _Among:
    """A source of which there are several; ``index`` says for each run which of them is its own."""

    values: Sequence[Any]
    index: NDArray[np.int64]


def _described(
    table: FeatureTable, sources: Mapping[str, Any], models: tuple[str, ...], index: NDArray[np.int64]
) -> Batch:
    columns = {}
    for feature in table:
        source = sources[feature.of]
        if isinstance(source, _Among):
            values = np.array([feature.value(value) for value in source.values], np.float64)
            columns[feature.name] = values[source.index]
        else:
            columns[feature.name] = np.broadcast_to(np.asarray(feature.value(source), np.float64), index.shape)
    return Batch(columns, models, index)
