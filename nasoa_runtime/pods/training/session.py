"""A training session that can be stopped at any step and taken up again by another pod."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from nasoa_runtime.pods.failures import StoppedError
from nasoa_runtime.pods.pod import Pod
from nasoa_runtime.pods.retrying import retrying
from nasoa_runtime.pods.training.batches import Batch
from nasoa_runtime.pods.training.checkpoint import Checkpoint
from nasoa_runtime.pods.training.loop import CUDA_WINDOW, Trainer
from nasoa_runtime.storage.s3 import StoreUnavailable

log = logging.getLogger(__name__)

LEAST_INTERVAL_SECONDS = 10.0
COST_SHARE = 0.05
"""Checkpoints may take this share of the time."""


@dataclass
class Saver:
    """Writes a trainer's checkpoints as often as they are worth their cost."""

    pod: Pod
    trainer: Trainer
    uri: str
    checkpoint: Callable[[], Checkpoint[Any]]
    """The checkpoint as it would be now."""
    cost_seconds: float = 0.0
    saved_step: int | None = None
    """Of what is in the store; ``None`` where that is older than the last validation."""
    _last: float = field(default_factory=time.monotonic)

    @property
    def due(self) -> bool:
        """Whether the next checkpoint's time has come."""
        interval = max(LEAST_INTERVAL_SECONDS, self.cost_seconds / COST_SHARE)
        return time.monotonic() - self._last >= interval

    def save(self) -> None:
        """Write a checkpoint now (the first worker does).

        Raises:
            StoreUnavailable: The store did not answer.
        """
        if self.trainer.target.rank == 0:
            started = time.monotonic()
            self.pod.store.put(self.uri, self.checkpoint().to_bytes())
            self.cost_seconds = time.monotonic() - started
        self._last = time.monotonic()
        self.saved_step = self.trainer.step

    def save_if_due(self) -> None:
        """Write a checkpoint if its time has come; a store that does not answer only makes the next attempt longer."""
        if not self.due:
            return
        try:
            self.save()
        except StoreUnavailable as error:
            self._last = time.monotonic()
            log.warning("Checkpoint not written, the run goes on: %s", error)


def train(
    trainer: Trainer,
    batches: Iterator[Batch],
    saver: Saver,
    *,
    until_step: int | None = None,
    before_steps: Callable[[], None] = lambda: None,
) -> None:
    """Train to ``until_step`` or the last planned step.

    Args:
        trainer: What is trained.
        batches: Its batches, from the trainer's step on.
        saver: Keeps checkpoints.
        until_step: Where to pause; ``None`` goes to the end.
        before_steps: Called before every few steps; may re-plan, or raise.

    Raises:
        StoppedError: SIGTERM arrived; a checkpoint has been written.
    """
    target, pod = trainer.target, saver.pod
    chunk = CUDA_WINDOW if target.is_cuda else 1
    with pod.uninterrupted():
        while not trainer.finished and (until_step is None or trainer.step < until_step):
            if target.agree(float(pod.stop_requested)):
                retrying(saver.save, (0.5, 1.0))
                log.info("Checkpoint written at step %d; stopping as asked.", trainer.step)
                raise StoppedError
            before_steps()
            left = chunk if until_step is None else min(chunk, until_step - trainer.step)
            trainer.train(batches, left)
            saver.save_if_due()
