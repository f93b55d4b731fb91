"""What the predictor knows of a run: one line each, with where its value comes from.

A new feature is one more line of a table. Its value then arrives wherever runs are described (see
:mod:`nasoa_runtime.online.description`): in what is predicted, in what is recorded, and in what is learned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from nasoa_runtime.documents.predictor import Transform

Source = Literal["model", "dataset", "regime", "row"]
"""What a value is read from: :class:`~nasoa_runtime.documents.outcomes.ModelFacts`, the
:class:`~nasoa_runtime.boundary.DatasetStatistics`, the :class:`~nasoa_runtime.online.description.Regimes`, or a row of
a file of recorded runs."""


@dataclass(frozen=True)
class Feature:
    """One number that describes a run."""

    name: str
    transform: Transform
    typical: float
    """A usual value, before the transform."""
    spread: float
    """A usual standard deviation, after the transform."""
    of: Source
    """What the value is read from."""
    optional: bool = False
    """May be missing (NaN in a batch, null in a record)."""
    read: Callable[[Any], Any] | None = None
    """From the source to the value; without it, the source's attribute of the feature's name is read. Regimes come as
    columns, so what is computed from one must work on an array as it does on a number."""

    def value(self, source: Any) -> Any:
        """The feature's value, or its column, before the transform."""
        return getattr(source, self.name) if self.read is None else self.read(source)


FeatureTable = tuple[Feature, ...]

REQUEST_FEATURES: FeatureTable = (
    Feature("source_accuracy", "linear", 0.75, 0.1, of="model", optional=True),
    Feature("parameters", "log", 1e7, 1.0, of="model", optional=True),
    Feature("macs", "log", 1e9, 1.2, of="model", optional=True),
    Feature("domain_similarity", "linear", 0.8, 0.1, of="model", optional=True),
    Feature("classes", "log", 20.0, 1.2, of="dataset"),
    Feature("images_per_class_mean", "log", 100.0, 1.2, of="dataset"),
    Feature("images_per_class_std", "log1p", 20.0, 1.5, of="dataset"),
    Feature("iterations", "log", 500.0, 1.5, of="regime"),
    Feature("learning_rate", "log", 0.01, 1.5, of="regime"),
    Feature("frozen_stages", "linear", 2.5, 1.7, of="regime"),
)
"""The features of a FineTuneRequest's runs (SPEC 5); accuracies and similarities in [0, 1]."""

REPLAY_FEATURES: FeatureTable = (
    Feature("imagenet_top1", "linear", 75.0, 8.0, of="row"),
    Feature("n_classes", "log", 50.0, 1.0, of="row"),
    Feature("imgs_per_class", "log", 200.0, 1.5, of="row"),
    Feature("lr", "log", 1e-3, 2.5, of="row"),
    Feature("iterations", "log", 5000.0, 3.0, of="row"),
    Feature("batch_size", "log", 32.0, 1.6, of="row"),
    Feature("pct_to_freeze", "linear", 0.5, 0.35, of="row"),
)
"""What the paper's predictors are told of a recorded run, under the names of its file's columns. The full description
is in :mod:`nasoa_runtime.online.recorded_features`."""


def of_rows(table: FeatureTable, columns: Callable[[str], str | None]) -> FeatureTable:
    """The same features for runs that were recorded elsewhere, where any value may be missing.

    Args:
        table: the features.
        columns: from a feature's name to the column of the recorded rows that has its value; ``None``: no column has.
    """

    def reader(column: str | None) -> Callable[[Any], Any]:
        return (lambda _: None) if column is None else (lambda row: getattr(row, column))

    return tuple(replace(feature, of="row", optional=True, read=reader(columns(feature.name))) for feature in table)
