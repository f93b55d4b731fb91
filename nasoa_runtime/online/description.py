"""Describing runs: the same for what is predicted, what is recorded and what is learned.

:func:`describe` is the one place where a request's runs are described, and :func:`describe_rows` the one for runs that
were recorded elsewhere. Thousands of candidates are described at once, as columns; one run is a batch of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.boundary import DatasetStatistics
from nasoa_runtime.documents.outcomes import ModelFacts, RunDescription
from nasoa_runtime.online.errors import InvalidDescription
from nasoa_runtime.online.features import RUN_FEATURES, RUN_WORDS, Feature, FeatureTable
from nasoa_runtime.online.records import NUMERIC, RecordedRun
from nasoa_runtime.online.regimes import Regimes

Floats = NDArray[np.float64]
Words = NDArray[np.object_]


@dataclass(frozen=True)
class Batch:
    """Described runs as columns: n values of each feature (NaN where missing), and of each run its model's index."""

    values: Mapping[str, Floats]
    models: tuple[str, ...]
    model_index: NDArray[np.int64]
    words: Mapping[str, Words] = field(default_factory=dict)
    """Categories, ``None`` where missing."""
    datasets: Words = field(default_factory=lambda: np.empty(0, np.object_))
    """Of each run the identity of its dataset, which is no feature: what was learned of it holds for no other."""

    @classmethod
    def of(
        cls,
        runs: Sequence[RunDescription],
        table: FeatureTable = RUN_FEATURES,
        words: FeatureTable = RUN_WORDS,
        dataset: str = "",
    ) -> Batch:
        """Gather recorded descriptions of runs on one dataset, each of which must have just these features.

        Raises:
            InvalidDescription: a feature is absent, or there is one that is unknown.
        """
        for run in runs:
            for features, found in ((table, run.values), (words, run.words)):
                names = {feature.name for feature in features}
                for name in names - found.keys():
                    raise InvalidDescription(name, f"is absent from the description of a run of model {run.model!r}")
                for name in found.keys() - names:
                    raise InvalidDescription(name, f"of a run of model {run.model!r} is unknown to the predictor")
        models = tuple(dict.fromkeys(run.model for run in runs))
        position = {model: index for index, model in enumerate(models)}
        return cls(
            # numpy reads None as NaN.
            {f.name: np.array([run.values[f.name] for run in runs], np.float64) for f in table},
            models,
            np.array([position[run.model] for run in runs], np.int64),
            {f.name: np.array([run.words[f.name] for run in runs], np.object_) for f in words},
            np.full(len(runs), dataset, np.object_),
        )

    @classmethod
    def concatenated(cls, parts: Sequence[Batch]) -> Batch:
        """The runs of all parts, of which there is one at least, in their order; all must have the same features."""
        models = tuple(dict.fromkeys(model for part in parts for model in part.models))
        position = {model: index for index, model in enumerate(models)}
        places = [np.array([position[model] for model in part.models], np.int64) for part in parts]
        return cls(
            {name: np.concatenate([part.values[name] for part in parts]) for name in parts[0].values},
            models,
            np.concatenate([own[part.model_index] for own, part in zip(places, parts, strict=True)]),
            {name: np.concatenate([part.words[name] for part in parts]) for name in parts[0].words},
            np.concatenate([part.datasets for part in parts]),
        )

    def __len__(self) -> int:
        return int(self.model_index.shape[0])

    def column(self, feature: Feature) -> Floats:
        """The values of a feature, shape (n,), computed from the others where it follows from them."""
        if feature.of != "description":
            return self.values[feature.name]
        if feature.name not in self._derived:
            self._derived[feature.name] = np.asarray(feature.value(self), np.float64)
        return self._derived[feature.name]

    @cached_property
    def encoded(self) -> dict[Any, Floats]:
        """What the runs were encoded to, by whatever encoded them."""
        return {}

    @cached_property
    def _derived(self) -> dict[str, Floats]:
        return {}

    def take(self, runs: NDArray[np.int64] | NDArray[np.bool_]) -> Batch:
        """Some of the runs, in this order."""
        return Batch(
            {name: column[runs] for name, column in self.values.items()},
            self.models,
            self.model_index[runs],
            {name: column[runs] for name, column in self.words.items()},
            self.datasets[runs],
        )

    def at(self, steps: Floats, *, annealed: Floats) -> Batch:
        """The same runs after other numbers of steps, shape (n,), of the same schedules."""
        return replace(self, values={**self.values, "iterations": steps, "annealed": annealed})

    def descriptions(self) -> tuple[RunDescription, ...]:
        """The runs one by one, as they are recorded; :meth:`of` is the way back."""
        columns = {name: [None if np.isnan(v) else float(v) for v in column] for name, column in self.values.items()}
        words = {name: [None if v is None else str(v) for v in column] for name, column in self.words.items()}
        return tuple(
            RunDescription(
                model=self.models[index],
                values={name: column[run] for name, column in columns.items()},
                words={name: column[run] for name, column in words.items()},
            )
            for run, index in enumerate(self.model_index)
        )


def describe(
    models: Sequence[ModelFacts],
    dataset: DatasetStatistics,
    regimes: Regimes,
    table: FeatureTable = RUN_FEATURES,
    words: FeatureTable = RUN_WORDS,
) -> Batch:
    """Describe runs on one dataset, of any number of models."""
    index = regimes.model
    sources = {"model": _Among(models, index), "dataset": _Among((dataset,), np.zeros_like(index)), "regime": regimes}
    names, datasets = tuple(model.name for model in models), np.full(len(index), dataset.digest, np.object_)
    return _described(sources, names, index, datasets, table, words)


def describe_rows(rows: Sequence[RecordedRun], table: FeatureTable, words: FeatureTable = ()) -> Batch:
    """Describe runs that were recorded elsewhere, by features that are all read from the rows."""
    models = tuple(dict.fromkeys(row.model for row in rows))
    position = {model: index for index, model in enumerate(models)}
    index = np.array([position[row.model] for row in rows], np.int64)
    datasets = np.array([row.dataset for row in rows], np.object_)
    return _described({"row": RowColumns(rows)}, models, index, datasets, table, words)


class RowColumns:
    """Recorded rows as columns under the names of the rows' attributes, each made when it is first read."""

    def __init__(self, rows: Sequence[RecordedRun]) -> None:
        self._rows = rows

    def __getattr__(self, name: str) -> Any:
        column = np.empty(len(self._rows), np.object_)
        column[:] = [getattr(row, name) for row in self._rows]
        if name in NUMERIC:
            column = column.astype(np.float64)
        self.__dict__[name] = column
        return column


@dataclass(frozen=True)
class _Among:
    """A source of which there are several; ``index`` says for each run which of them is its own."""

    values: Sequence[Any]
    index: NDArray[np.int64]


def _described(
    sources: Mapping[str, Any],
    models: tuple[str, ...],
    index: NDArray[np.int64],
    datasets: Words,
    table: FeatureTable,
    words: FeatureTable,
) -> Batch:
    def column(feature: Feature, kind: Any) -> Any:
        source = sources.get(feature.of)
        if isinstance(source, _Among):
            values = np.empty(len(source.values), np.object_)
            values[:] = [feature.value(value) for value in source.values]
            return values.astype(kind)[source.index]
        return np.broadcast_to(np.asarray(feature.value(source), kind), index.shape)

    values = {feature.name: column(feature, np.float64) for feature in table}
    return Batch(values, models, index, {feature.name: column(feature, np.object_) for feature in words}, datasets)
