"""Going on with a race that another pod has left: by its last decision, and by the checkpoints of who was in it."""

from __future__ import annotations

import logging

from nasoa_runtime.boundary import Run
from nasoa_runtime.documents.checkpoint import FinetuningState
from nasoa_runtime.documents.race import RaceDecision
from nasoa_runtime.pods.racing.bench import Parked
from nasoa_runtime.pods.racing.field import ANNEALED, Field
from nasoa_runtime.pods.racing.keeping import Kept
from nasoa_runtime.pods.racing.standings import Standing

log = logging.getLogger(__name__)


def taken_up(field: Field, kept: Kept, last: RaceDecision) -> None:
    """Bring ``field``, in which nothing is yet, to where the last attempt has left off.

    Whoever was in the race and has no checkpoint is out, unless all were still to start.
    """
    numbers = {regime: number for number, regime in enumerate(field.request.document.regimes)}
    field.trainable_seconds = last.trainable_seconds
    field.runs = {numbers[run.regime]: run for run in last.runs}
    for number in last.racing:
        checkpoint = kept.checkpoint(number)
        if checkpoint is None:
            continue
        state = checkpoint.state
        for run in state.runs:
            if run.regime in numbers:
                field.runs.setdefault(numbers[run.regime], run)
        field.bench.parked[number] = Parked(checkpoint, saved=True)
        if state.best is not None and state.points:
            failed = number in field.runs and field.runs[number].failure is not None
            field.runs[number] = field.runs[number] if failed else _run_of(state)
            field.standings[number] = Standing(
                number,
                state.regime,
                state.trainer.step,
                state.best.accuracy,
                _step_seconds(state),
                annealed=state.trainer.progress >= ANNEALED,
                failed=failed,
            )
    log.info("The race goes on with %d of %d runs.", len(field.bench.parked), len(last.racing))


def _run_of(state: FinetuningState) -> Run:
    """What a checkpoint says of its run."""
    return Run(
        regime=state.regime,
        steps=state.trainer.step,
        validation_accuracy=None if state.best is None else state.best.accuracy,
        step_seconds=_step_seconds(state),
        seconds=state.seconds,
        points=state.points,
    )


def _step_seconds(state: FinetuningState) -> float:
    """As seen by whoever wrote the checkpoint."""
    windows = sorted(step + loading for step, loading in state.trainer.windows)
    return windows[len(windows) // 2] if windows else state.regime.step_seconds
