"""``finetune``: one regime under the time limit, then the deliverable (SPEC 5)."""

from __future__ import annotations

import gc
import logging
import time
from dataclasses import dataclass, field

import torch

from nasoa_runtime.boundary import FinetuneInput, FinetuneResult, Regime, Run
from nasoa_runtime.pods.clock import Clock
from nasoa_runtime.pods.dataset.images import load_size
from nasoa_runtime.pods.dataset.prefetch import Prefetch
from nasoa_runtime.pods.dataset.reading import Dataset, read_dataset
from nasoa_runtime.pods.failures import BadInputError, DivergedError, OutOfMemoryError, TimedOutError
from nasoa_runtime.pods.pod import Pod, retrying
from nasoa_runtime.pods.programs.common import forget_checkpoint
from nasoa_runtime.pods.training.checkpoint import Checkpoint, read_checkpoint
from nasoa_runtime.pods.training.deliverable import Delivery
from nasoa_runtime.pods.training.device import Target, prepare
from nasoa_runtime.pods.training.finetuning import Finetuning, checkpoint_uri, model_named
from nasoa_runtime.pods.training.regimes import next_regime

log = logging.getLogger(__name__)


def run(document: FinetuneInput, pod: Pod, prefetch: Prefetch, clock: Clock) -> FinetuneResult | None:
    """Run the first regime, after a failure the next that differs, and deliver; ``None`` in other workers.

    Raises:
        DivergedError: Every regime that was tried diverged.
        OutOfMemoryError: None fitted into memory.
        TimedOutError: Nothing fits into the limit.
    """
    request = _Request(document, pod, clock, prepare(document.device), prefetch.dataset())
    request.train()
    pod.finish()
    return request.deliver() if request.target.rank == 0 else None


def clean_up(document: FinetuneInput, pod: Pod) -> None:
    """Delete what the published result has made useless."""
    forget_checkpoint(pod, checkpoint_uri(document))


@dataclass
class _Request:
    """A request being run: its runs so far."""

    document: FinetuneInput
    pod: Pod
    clock: Clock
    target: Target
    dataset: Dataset
    runs: list[Run] = field(default_factory=list)
    deliverable: dict[int, Finetuning] = field(default_factory=dict)
    """Runs with weights that have been validated, by their index in ``runs``."""

    def train(self) -> None:
        """Run regimes until one does not fail, or nothing is left to try and to spend."""
        uri = checkpoint_uri(self.document)
        checkpoint = retrying(lambda: read_checkpoint(self.pod.store, uri))
        regime: Regime | None = self.document.regimes[0]
        if checkpoint is not None:
            self.runs = [Run.model_validate(run) for run in checkpoint.state["runs"]]
            regime = Regime.model_validate(checkpoint.state["regime"])
        failure: DivergedError | OutOfMemoryError | TimedOutError | None = None
        while regime is not None:
            log.info(
                "%s: learning rate %.3g, %d frozen stages, %d steps; %.1f s are left.",
                regime.model, regime.learning_rate, regime.frozen_stages, regime.steps, self.clock.remaining_seconds(),
            )  # fmt: skip
            error = self._attempt(regime, checkpoint)
            if error is None or isinstance(error, TimedOutError):
                # A limit too short for a runner-up changes nothing about why the first one failed.
                failure = failure or error
                break
            log.warning("%s failed: %s", regime.model, error)
            failure, checkpoint = failure or error, None
            gc.collect()
            if self.target.is_cuda:
                torch.cuda.empty_cache()
            regime = next_regime(self.document.regimes, self.runs)
        if not self.deliverable:
            raise failure or BadInputError("regimes: none is left to try.")

    def _attempt(
        self, regime: Regime, checkpoint: Checkpoint | None
    ) -> DivergedError | OutOfMemoryError | TimedOutError | None:
        """Run one regime and record it, unless there was no time for it at all."""
        started = time.monotonic()
        finetuning: Finetuning | None = None
        error: DivergedError | OutOfMemoryError | None = None
        try:
            finetuning = Finetuning(
                self.document,
                regime,
                self._dataset_for(regime),
                self.pod,
                self.clock,
                self.target,
                state=lambda: {"runs": [run.model_dump(mode="json") for run in self.runs]},
            )
            if checkpoint is not None:
                finetuning.restore(checkpoint)
            finetuning.run()
        except TimedOutError as too_short:
            return too_short
        except (DivergedError, OutOfMemoryError) as failed:
            error = failed
        failure = None if error is None else "Diverged" if isinstance(error, DivergedError) else "OutOfMemory"
        if finetuning is None:
            fields = {"regime": regime, "steps": 0, "validation_accuracy": None, "failure": failure}
            self.runs.append(Run.model_validate(fields | {"seconds": time.monotonic() - started}))
            return error
        self.runs.append(finetuning.record(failure))
        if finetuning.best is not None:
            self.deliverable[len(self.runs) - 1] = finetuning
        return error

    def _dataset_for(self, regime: Regime) -> Dataset:
        """The dataset at the size this regime's model wants; runners-up may want another than the first."""
        preprocessing = model_named(self.document, regime.model).preprocessing
        side, interpolation = load_size(preprocessing.image_size), preprocessing.interpolation
        if (side, interpolation) != (self.dataset.side, self.dataset.interpolation):
            self.dataset = read_dataset(
                self.document.dataset,
                preprocessing.image_size,
                lambda: self.pod.store,
                self.pod.work_directory,
                interpolation=interpolation,
            )
        return self.dataset

    def deliver(self) -> FinetuneResult:
        """Test, publish, and report the seconds used, the result's own writing included."""
        chosen = max(self.deliverable, key=lambda index: self.runs[index].validation_accuracy or 0.0)
        finetuning = self.deliverable[chosen]
        best = finetuning.best
        assert best is not None
        test = finetuning.test()
        if self.clock.remaining_seconds() < finetuning.costs.upload_seconds:
            msg = "timeLimit: nothing is left of it to publish the model in: allow more."
            raise TimedOutError(msg)
        delivery = Delivery(
            request=self.document.request,
            model=finetuning.model,
            regime=finetuning.regime,
            steps=best.step,
            classes=self.dataset.classes,
            weights=finetuning.weights(),
            validation_accuracy=best.accuracy,
            test=test,
        )
        prefix = self.document.output_uri.rstrip("/")
        seconds_of_one = 0.0

        def put(name: str, content: bytes) -> None:
            nonlocal seconds_of_one
            started = time.monotonic()
            retrying(lambda: self.pod.store.put(f"{prefix}/{name}", content))
            seconds_of_one = time.monotonic() - started

        delivery.publish(put)
        pace = finetuning.trainer.pace
        return FinetuneResult(
            runs=tuple(self.runs),
            chosen=chosen,
            validation_accuracy=best.accuracy,
            test_accuracy=None if test is None else test.accuracy,
            seconds=self.clock.used_seconds() + seconds_of_one,
            attempts=self.clock.attempt,
            steps=self.runs[chosen].steps,
            step_seconds=pace.median_step_seconds if pace.step_seconds else finetuning.regime.step_seconds,
            loading_seconds=pace.median_loading_seconds if pace.loading_seconds else 0.0,
            output_uri=prefix,
            model_digest=delivery.weights_digest,
        )
