"""What is learned of a request's runs: from what they showed to the record that the predictor learns. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from nasoa_runtime.boundary import DatasetStatistics, Run
from nasoa_runtime.documents.outcomes import ModelFacts, Outcome, OutcomeRecord, RunDescription
from nasoa_runtime.online.description import Batch, describe
from nasoa_runtime.online.encoder import apply_transforms
from nasoa_runtime.online.features import NUMBERS, PAPER_FEATURES
from nasoa_runtime.online.regimes import Regimes
from nasoa_runtime.online.strategies import Strategy

DEFAULT_BATCH, WEIGHT_DECAY_THEN = 32, 1e-4
"""Of runs that were recorded before descriptions said so."""


@dataclass(frozen=True)
class LearnedRequest:
    """The request whose runs are learned."""

    uid: str
    name: str
    """``namespace/name``."""
    zoo: str
    recorded_at: datetime
    batch_size: int
    """Of regimes that name none."""


def outcome_record(
    request: LearnedRequest,
    models: Sequence[ModelFacts],
    dataset: DatasetStatistics,
    runs: Sequence[Run],
    delivered: int | None,
    strategy: Strategy,
) -> OutcomeRecord:
    """The record of what ``runs`` showed; without any outcome where none showed an accuracy.

    Args:
        request: whose runs they are.
        models: at least those that were run, as they were when the schedule was made.
        dataset: as its probe saw it.
        runs: as the pod reports them, in their order.
        delivered: the number of the run whose model was delivered; ``None`` where none was.
        strategy: says which of the runs teach.
    """
    facts = {model.name: model for model in models}
    taught = strategy.learned(runs, delivered)
    held = strategy.holds_the_rate and len(runs) > 1
    outcomes = (_outcome(run, facts[run.regime.model], dataset, request.batch_size, held=held) for run in taught)
    return OutcomeRecord(
        uid=request.uid,
        request=request.name,
        zoo=request.zoo,
        dataset=dataset.digest,
        recorded_at=request.recorded_at,
        runs=tuple(outcome for outcome in outcomes if outcome is not None),
    )


def check_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Refuse recorded outcomes that a predictor can't learn.

    Raises:
        InvalidDescription: a description lacks a feature, has an unknown one, or a value that can't be used.
    """
    apply_transforms(NUMBERS, Batch.of([outcome.description for outcome in outcomes]))


def upgraded(outcome: Outcome) -> Outcome:
    """The outcome as it is described today, if it was recorded before descriptions were full.

    All runs were alike then in what descriptions left out, but for their batch size, image size and precision: those
    count as what they are by default.
    """
    run = outcome.description
    if run.words or run.values.keys() != {feature.name for feature in PAPER_FEATURES}:
        return outcome
    steps = np.array([run.values["iterations"] or 1.0])
    regimes = Regimes.of_columns(
        np.zeros(1, np.int64), np.ones(1), np.zeros(1), steps, batch_size=DEFAULT_BATCH, weight_decay=WEIGHT_DECAY_THEN
    )
    images = (run.values["classes"] or 1.0) * (run.values["images_per_class_mean"] or 1.0)
    dataset = DatasetStatistics(
        digest="0" * 64,
        classes=2,
        images=max(1, round(images)),
        validation_images=1,
        test_images=0,
        images_per_class_mean=1.0,
        images_per_class_std=0.0,
    )
    full = describe((ModelFacts(name=run.model, source="unknown"),), dataset, regimes).descriptions()[0]
    return outcome.model_copy(update={"description": full.model_copy(update={"values": full.values | run.values})})


def description_of(
    run: Run, model: ModelFacts, dataset: DatasetStatistics, batch_size: int, *, held: bool
) -> RunDescription:
    """One run as it was done: its iterations are the steps that were trained.

    ``held`` says that the learning rate stayed at its peak until it was known which run would go on.
    """
    regimes = Regimes.of((run.regime,), batch_size)
    steps = np.array([max(1, run.steps)], np.float64)
    # The schedule of a run that was not stopped was laid anew until it ended where the run did.
    planned = steps if run.annealed else regimes.planned_iterations
    done = replace(
        regimes,
        iterations=steps,
        planned_iterations=planned,
        annealed=np.array([float(run.annealed)]),
        held=np.array([float(held)]),
    )
    return describe((model,), dataset, done).descriptions()[0]


def _outcome(run: Run, model: ModelFacts, dataset: DatasetStatistics, batch_size: int, *, held: bool) -> Outcome | None:
    """What a run showed of the accuracy of runs like it; ``None``: nothing."""
    description = description_of(run, model, dataset, batch_size, held=held)
    if run.failure == "Diverged":
        return Outcome(description=description, accuracy=1.0 / dataset.classes, failure="Diverged")
    if run.failure is not None or run.validation_accuracy is None:
        return None  # Out of memory says nothing about accuracy, nor does a run that was never validated.
    return Outcome(description=description, accuracy=run.validation_accuracy, points=run.points)
