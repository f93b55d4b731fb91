"""Runs for tests, described as the product describes them. A test says only what matters to it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from nasoa_runtime.boundary import DatasetStatistics, Regime
from nasoa_runtime.documents.outcomes import ModelFacts, Outcome, OutcomeRecord, RunDescription
from nasoa_runtime.online.description import Batch, describe
from nasoa_runtime.online.features import RUN_FEATURES, FeatureTable
from nasoa_runtime.online.regimes import Regimes

DIGEST = "ab" * 32
START = datetime(2026, 1, 1, tzinfo=UTC)


def facts(name: str = "a", **changes: Any) -> ModelFacts:
    """A model of which everything is known but how similar the dataset is to its source."""
    fields = {"source": "imagenet", "source_accuracy": 0.7, "parameters": 5_000_000, "macs": 300_000_000}
    return ModelFacts(name=name, **(fields | changes))


def a_dataset(classes: int = 10, images_per_class: float = 100.0, **changes: Any) -> DatasetStatistics:
    """A dataset with as many images in each class."""
    fields = {
        "digest": DIGEST,
        "classes": classes,
        "images": round(classes * images_per_class),
        "validation_images": 200,
        "test_images": 0,
        "images_per_class_mean": images_per_class,
        "images_per_class_std": 3.0,
    }
    return DatasetStatistics(**(fields | changes))


def a_regime(learning_rate: float = 0.01, frozen_stages: int = 2, steps: int = 400, **changes: Any) -> Regime:
    """A regime of model ``a``."""
    fields = {"model": "a", "step_seconds": 0.1, "predicted_accuracy": 0.5}
    planned = {"learning_rate": learning_rate, "frozen_stages": frozen_stages, "steps": steps}
    return Regime(**(fields | planned | changes))


def a_run(
    model: str | ModelFacts = "a",
    dataset: DatasetStatistics | None = None,
    learning_rate: float = 0.01,
    frozen_stages: int = 2,
    iterations: int = 400,
    table: FeatureTable = RUN_FEATURES,
) -> RunDescription:
    """A run's description."""
    models = (facts(model) if isinstance(model, str) else model,)
    regime = Regimes.of((a_regime(learning_rate, frozen_stages, iterations),), batch_size=32)
    return describe(models, dataset or a_dataset(), regime, table).descriptions()[0]


def an_outcome(accuracy: float = 0.8, **run: Any) -> Outcome:
    """A run's description, and what it reached."""
    return Outcome(description=a_run(**run), accuracy=accuracy)


def a_record(uid: str = "uid-1", *runs: Outcome, recorded_at: datetime = START) -> OutcomeRecord:
    """What request ``uid`` showed."""
    return OutcomeRecord(
        uid=uid, request="team/digits", zoo="fashion", dataset=DIGEST, recorded_at=recorded_at, runs=runs
    )


def batch(*runs: RunDescription, table: FeatureTable = RUN_FEATURES) -> Batch:
    """Descriptions as a predictor is asked about them."""
    return Batch.of(runs, table, dataset=DIGEST)
