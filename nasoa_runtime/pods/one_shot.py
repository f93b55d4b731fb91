"""The strategy ``OneShot``: the first regime is run once, and another one only where that fails."""

from __future__ import annotations

import gc
import logging
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from nasoa_runtime.boundary import Regime, Run
from nasoa_runtime.documents.checkpoint import FinetuningState
from nasoa_runtime.pods.failures import BadInputError, DivergedError, OutOfMemoryError, TimedOutError
from nasoa_runtime.pods.training.checkpoint import Checkpoint
from nasoa_runtime.pods.training.device import Target
from nasoa_runtime.pods.training.finetuning import Finetuning
from nasoa_runtime.pods.training.request import Request, Trained

log = logging.getLogger(__name__)

NAME = "OneShot"


def one_shot(request: Request, runs: Sequence[Run] = (), begun: Finetuning | None = None) -> Trained:
    """Run the first regime once; only after divergence or out of memory the next one that differs.

    Args:
        request: What is asked for.
        runs: Those that have failed already.
        begun: The run to begin with, as far as it has got, if it is there already.

    Raises:
        DivergedError: Every regime that was tried diverged.
        OutOfMemoryError: None fitted into memory.
        TimedOutError: Nothing fits into the limit.
    """
    running = _OneShot(request, begun, list(runs))
    del begun  # Its network must be gone before another one is built.
    return running.train()


@dataclass
class _OneShot:
    """Its runs so far."""

    request: Request
    begun: Finetuning | None = None
    runs: list[Run] = field(default_factory=list)
    deliverable: dict[int, Finetuning] = field(default_factory=dict)

    def train(self) -> Trained:
        """Run regimes until one does not fail, or nothing is left to try and to spend."""
        regimes, clock = self.request.document.regimes, self.request.clock
        regime: Regime | None = regimes[0] if self.begun is None else self.begun.regime
        checkpoint = self.request.checkpoint() if self.begun is None else None
        if checkpoint is not None:
            self.runs, regime = list(checkpoint.state.runs), checkpoint.state.regime
        failure: DivergedError | OutOfMemoryError | TimedOutError | None = None
        while regime is not None:
            log.info(
                "%s: learning rate %.3g, %d frozen stages, %d steps; %.1f s are left.",
                regime.model, regime.learning_rate, regime.frozen_stages, regime.steps, clock.remaining_seconds(),
            )  # fmt: skip
            error = self._attempt(regime, checkpoint)
            # A limit too short for a runner-up changes nothing about why the first one failed.
            failure = failure or error
            if error is None or isinstance(error, TimedOutError):
                break
            log.warning("%s failed: %s", regime.model, error)
            checkpoint = None
            let_go(error, self.request.target)
            regime = next_regime(regimes, self.runs)
        if not self.deliverable:
            raise failure or BadInputError("regimes: none is left to try.")
        return Trained(tuple(self.runs), self.deliverable, NAME)

    def _attempt(
        self, regime: Regime, checkpoint: Checkpoint[FinetuningState] | None
    ) -> DivergedError | OutOfMemoryError | TimedOutError | None:
        """Run one regime and record it, unless there was no time for it at all."""
        started = time.monotonic()
        finetuning: Finetuning | None = None
        error: DivergedError | OutOfMemoryError | None = None
        try:
            finetuning = self.begun or self.request.finetuning(regime, tuple(self.runs))
            self.begun = None
            if checkpoint is not None:
                finetuning.restore(checkpoint)
            finetuning.run()
        except TimedOutError as too_short:
            return too_short
        except (DivergedError, OutOfMemoryError) as failed:
            error = failed
        failure = None if error is None else failure_of(error)
        if finetuning is None:
            seconds = time.monotonic() - started
            self.runs.append(Run(regime=regime, steps=0, validation_accuracy=None, failure=failure, seconds=seconds))
            return error
        self.runs.append(finetuning.record(failure))
        if finetuning.best is not None:
            self.deliverable[len(self.runs) - 1] = finetuning
        return error


def failure_of(error: DivergedError | OutOfMemoryError) -> Literal["Diverged", "OutOfMemory"]:
    """What a run that ended with ``error`` is said to have come to."""
    return "Diverged" if isinstance(error, DivergedError) else "OutOfMemory"


def let_go(error: BaseException | None, target: Target) -> None:
    """Free what a run held that failed with ``error``: the frames that it came through keep the network."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    gc.collect()
    if target.is_cuda:
        torch.cuda.empty_cache()


def next_regime(regimes: Sequence[Regime], runs: Sequence[Run]) -> Regime | None:
    """The best-ranked regime that differs in what made the earlier ones fail.

    After divergence a model is not tried with that optimiser at that learning rate or a higher one; after running out
    of memory it is not tried with as many or fewer frozen stages, unless with a smaller batch.

    Args:
        regimes: The best one first.
        runs: The runs so far, all failed.
    """
    tried = [run.regime for run in runs]
    return next((regime for regime in regimes if regime not in tried and not would_fail(regime, runs)), None)


def would_fail(regime: Regime, runs: Sequence[Run]) -> bool:
    """Whether it has what made one of ``runs`` fail."""
    return any(run.regime.model == regime.model and _fails_alike(regime, run) for run in runs)


def _fails_alike(regime: Regime, run: Run) -> bool:
    """Whether ``run`` failed by something that another regime of its model has too."""
    failed = run.regime
    if run.failure == "Diverged":
        return regime.optimizer == failed.optimizer and regime.learning_rate >= failed.learning_rate
    if run.failure == "OutOfMemory":
        return regime.frozen_stages <= failed.frozen_stages and not _has_smaller_batch(regime, failed)
    return False


def _has_smaller_batch(one: Regime, other: Regime) -> bool:
    """Whether it does for certain: of a regime that names no batch size, nothing tells."""
    return one.batch_size is not None and other.batch_size is not None and one.batch_size < other.batch_size
