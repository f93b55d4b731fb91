"""One regime under a time limit: steps re-planned from the pace that is seen, the best weights kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nasoa_runtime.boundary import CurvePoint, FinetuneInput, Regime, Run
from nasoa_runtime.documents.checkpoint import BestSoFar, FinetuningState
from nasoa_runtime.documents.keys import finetuning_checkpoint_uri
from nasoa_runtime.pods.clock import Clock
from nasoa_runtime.pods.dataset.reading import Dataset
from nasoa_runtime.pods.failures import TimedOutError
from nasoa_runtime.pods.networks.building import build_model
from nasoa_runtime.pods.networks.freezing import freeze
from nasoa_runtime.pods.networks.weights import fetch_weights, load_weights, weights_bytes
from nasoa_runtime.pods.pod import Pod
from nasoa_runtime.pods.retrying import retrying
from nasoa_runtime.pods.training.augmentation import Augmentation
from nasoa_runtime.pods.training.batches import Batch, Loader
from nasoa_runtime.pods.training.budget import Costs, Upload, affordable_steps, planned_validations
from nasoa_runtime.pods.training.checkpoint import Checkpoint, restore, seeded, state_of, tensors_of
from nasoa_runtime.pods.training.curve import Curve, extended
from nasoa_runtime.pods.training.device import Target
from nasoa_runtime.pods.training.evaluation import Evaluation, evaluate
from nasoa_runtime.pods.training.loop import Hyperparameters, Trainer
from nasoa_runtime.pods.training.session import Saver, train

log = logging.getLogger(__name__)

TIMED_BATCHES = 2
"""Batches of validation images by which evaluation is timed; the first one warms up."""
RISING = 4
"""The rate of a run that is held rises over one in so many steps of its first stretch."""
WEIGHTS_DIRECTORY = "weights"
"""In the work directory."""
_BEST = "best/"


@dataclass(frozen=True)
class Best:
    """The best weights of a run so far, on the CPU."""

    accuracy: float
    step: int
    weights: dict[str, Tensor]
    """Of the trainer's model."""
    averaged: bool = False
    """Whether they are the average over the run (:mod:`.ema`)."""


class Finetuning:
    """A run of one regime. Built, perhaps restored, then :meth:`run`; :attr:`best` is there even after a failure."""

    def __init__(
        self,
        document: FinetuneInput,
        regime: Regime,
        dataset: Dataset,
        pod: Pod,
        clock: Clock,
        target: Target,
        earlier: tuple[Run, ...] = (),
        checkpoint_uri: str | None = None,
    ) -> None:
        self.document, self.regime, self.dataset = document, regime, dataset
        self.pod, self.clock, self.target = pod, clock, target
        self.earlier = earlier
        self.model = document.model_of(regime)
        self.best: Best | None = None
        self.curve: Curve = ()
        self._seconds_before = 0.0
        self._started = time.monotonic()
        self._points: tuple[float, ...] = ()
        self._until_seconds: float | None = None
        self._most_steps = regime.steps
        self.costs: Costs = Costs(0.0, 0.0, 0.0)
        self._measured = False
        seeded(document.seed)
        self.batch_size = document.batch_size_of(regime)
        self.network = self._network()
        self.trainer = self._trainer()
        self.loader = Loader(
            dataset, self.model.preprocessing, self.batch_size, document.seed, target, Augmentation.of(regime)
        )
        uri = checkpoint_uri or finetuning_checkpoint_uri(document.work_uri)
        self.saver = Saver(pod, self.trainer, uri, self.checkpoint)

    def _network(self) -> torch.nn.Module:
        network = build_model(
            self.model.architecture, len(self.dataset.classes), low_resolution_stem=self.model.low_resolution_stem
        )
        kept = self.pod.work_directory / WEIGHTS_DIRECTORY
        content = fetch_weights(self.pod.zoo_store, self.model.weights_uri, self.model.weights_digest, kept)
        load_weights(network, content, keep_head=False)
        freeze(network, self.regime.frozen_stages)
        return network

    def _trainer(self) -> Trainer:
        """What trains :attr:`network`, or a part of it."""
        return Trainer(self.network, self._hyperparameters(), self.target)

    def _hyperparameters(self) -> Hyperparameters:
        return Hyperparameters(
            learning_rate=self.regime.learning_rate,
            batch_size=self.batch_size,
            optimizer=self.regime.optimizer,
            momentum=self.regime.momentum,
            weight_decay=self.regime.weight_decay,
            layer_decay=self.regime.layer_decay,
            label_smoothing=self.regime.label_smoothing,
            ema=self.regime.ema,
            precision=self.model.precision,
            channels_last=self.model.channels_last,
        )

    # What is trained on, and validated with, for whoever trains on something else than images.

    def _training_batches(self) -> Iterator[Batch]:
        """Endless, from the trainer's step on."""
        return self.loader.training(self.trainer.step)

    def _validation(self) -> Evaluation:
        """How the trainer's model classifies the validation images as it is now."""
        return self._evaluation(self.dataset.splits.validation)

    # --- Checkpoints --------------------------------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint[FinetuningState]:
        """All that it takes to go on; its tensors are those that are trained, not copies."""
        best = self.best
        state = FinetuningState(
            trainer=state_of(self.trainer),
            seconds=self.seconds,
            regime=self.regime,
            best=best if best is None else BestSoFar(accuracy=best.accuracy, step=best.step, averaged=best.averaged),
            runs=self.earlier,
            points=self.curve,
        )
        weights = {} if best is None else {_BEST + name: tensor for name, tensor in best.weights.items()}
        return Checkpoint(tensors_of(self.trainer) | weights, state)

    def restore(self, checkpoint: Checkpoint[FinetuningState]) -> None:
        """Go on from a checkpoint of this regime.

        Raises:
            ValueError: It is of another network.
        """
        restore(self.trainer, checkpoint)
        state = checkpoint.state
        self._seconds_before = state.seconds
        self.curve = state.points
        if state.best is not None:
            best = state.best
            self.best = Best(best.accuracy, best.step, checkpoint.below(_BEST), best.averaged)

    # --- Running ------------------------------------------------------------------------------------------------

    @property
    def seconds(self) -> float:
        """Seconds that this run has taken, over all attempts."""
        return self._seconds_before + time.monotonic() - self._started

    def run(self) -> None:
        """Train, validate, and keep the best weights in :attr:`best`.

        Raises:
            TimedOutError: Nothing of use fits into what is left of the limit.
            DivergedError: The loss became NaN or infinite.
            OutOfMemoryError: A step did not fit.
        """
        self.measure_costs()
        self._until_seconds, self.trainer.warmup_steps, self._most_steps = None, None, self.regime.steps
        self._replan()
        enough_to_end = self.costs.validation_seconds + self.costs.finish_seconds
        if (
            self.trainer.finished
            and self.best is None
            and (self.trainer.step == 0 or self._remaining() < enough_to_end)
        ):
            raise TimedOutError(self._too_short(), "timeLimit")
        trainable = self._remaining() - self.costs.reserve_seconds(self.clock.limit_seconds)
        self._points = planned_validations(self.trainer.progress, self.costs, trainable)
        train(self.trainer, self._training_batches(), self.saver, before_steps=self._before_steps)
        late = self._remaining() < enough_to_end
        if self.best is None or (self.best.step < self.trainer.step and not late):
            self._validate()

    def run_rung(self, seconds: float, most_steps: int) -> None:
        """Train for about so many seconds more, the validation at their end included, at a rate that is held.

        One step is done in any case, if the limit allows it.

        Args:
            seconds: From now on.
            most_steps: Of the whole run, which are less than the regime's: the rate falls over the rest of those.

        Raises:
            DivergedError: The loss became NaN or infinite.
            OutOfMemoryError: A step did not fit.
        """
        self.measure_costs()
        self._points, self._most_steps = (), most_steps
        self._until_seconds = self.target.agree(self.clock.used_seconds()) + seconds - self.costs.validation_seconds
        first = self.trainer.step
        self._replan(least=1)
        if self.trainer.warmup_steps is None:
            self.trainer.warmup_steps = max(1, (self.trainer.planned_steps - first) // RISING)

        def replan() -> None:
            self._replan(least=int(self.trainer.step == first))

        train(self.trainer, self._training_batches(), self.saver, before_steps=replan)
        if self.trainer.step > first:
            self._validate()

    def _remaining(self) -> float:
        return self.target.agree(self.clock.remaining_seconds())

    @property
    def network_bytes(self) -> int:
        """Size of the weights that would be delivered."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.network.state_dict().values())

    def measure_costs(self, upload: Upload | None = None) -> None:
        """Time a few validation batches and, unless ``upload`` tells what it takes, the first checkpoint; once."""
        if self._measured:
            return
        size = min(len(self.dataset.splits.validation), TIMED_BATCHES * self.batch_size)
        sample = self.dataset.splits.validation[:size]
        self._evaluation(sample[: self.batch_size])
        per_image = self._evaluation(sample).seconds / size
        if upload is None:
            self._save_first()
        else:
            self.saver.cost_seconds = upload.seconds_of(self.network_bytes)
        self._measured = True
        self.costs = Costs(
            validation_seconds=self.target.agree(per_image * len(self.dataset.splits.validation) * self._validations),
            test_seconds=self.target.agree(per_image * len(self.dataset.splits.test)),
            upload_seconds=self.target.agree(self.saver.cost_seconds),
        )

    def take_over(self, costs: Costs) -> None:
        """Reckon with costs that were measured before."""
        self.costs, self._measured = costs, True
        self.saver.cost_seconds = costs.upload_seconds

    def _save_first(self) -> None:
        """Write a checkpoint that is larger than what will be delivered, by which the upload is timed."""
        retrying(self.saver.save)

    @property
    def _validations(self) -> int:
        """Evaluations that validating takes: of the weights, and of their average if there is one."""
        return 1 if self.trainer.ema is None else 2

    def _before_steps(self) -> None:
        if self._points and self.trainer.progress >= self._points[0]:
            self._points = tuple(point for point in self._points if point > self.trainer.progress)
            self._validate()
        self._replan()

    def _replan(self, least: int = 0) -> None:
        """Fit the steps into the time left: never more than the regime has, fewer where steps are slower.

        Of a rung, ``least`` steps are planned though they take longer than it, but not longer than there is time.
        """
        # Until steps have been seen, the planned figure is all there is.
        step_seconds = self.trainer.pace.expected_seconds or self.regime.step_seconds
        validations = len(self._points) * self.costs.validation_seconds
        reserve = self.costs.reserve_seconds(self.clock.limit_seconds) + validations
        affordable = affordable_steps(self.clock.remaining_seconds(), reserve, step_seconds)
        if self._until_seconds is not None:
            rung = affordable_steps(self._until_seconds - self.clock.used_seconds(), 0.0, step_seconds)
            affordable = min(affordable, max(rung, least))
        self.trainer.plan(int(self.target.agree(min(self._most_steps, self.trainer.step + affordable))))

    def _too_short(self) -> str:
        needed = self.clock.used_seconds() + self.costs.reserve_seconds(self.clock.limit_seconds)
        needed += 10 * self.regime.step_seconds
        return (
            f"of {self.clock.limit_seconds:.3g} s, {self.clock.used_seconds():.3g} s were used before the "
            f"first step, and what is left is needed to validate and publish: allow at least {needed * 1.1:.3g} s."
        )

    def _validate(self) -> None:
        """Evaluate the weights and their average, and keep the better of them if it is the best so far.

        Of equals the later is kept, and the average rather than the weights.
        """
        self._keep_if_best(averaged=False)
        if self.trainer.ema is not None:
            with self.trainer.ema.applied():
                self._keep_if_best(averaged=True)
        self._note()

    def _note(self) -> None:
        """Enter the best so far in the curve, at the step that is done."""
        if self.best is None or self.trainer.step == 0:
            return
        point = CurvePoint(
            steps=self.trainer.step,
            accuracy=self.best.accuracy,
            annealed=self.trainer.progress >= 1.0,
            seconds=self.seconds,
        )
        self.curve = extended(self.curve, point)
        self.saver.saved_step = None

    def _keep_if_best(self, *, averaged: bool) -> None:
        accuracy = self._validation().accuracy
        what = "validation accuracy of the average" if averaged else "validation accuracy"
        log.info("Step %d: %s %.4f.", self.trainer.step, what, accuracy)
        if self.best is None or accuracy >= self.best.accuracy:
            weights = {name: t.detach().cpu().clone() for name, t in self.trainer.model.state_dict().items()}
            self.best = Best(accuracy, self.trainer.step, weights, averaged)

    def _evaluation(self, indices: NDArray[np.int64]) -> Evaluation:
        return evaluate(
            self.network,
            self.loader.evaluation(indices),
            len(self.dataset.classes),
            self.target,
            self.model.precision,
            channels_last=self.model.channels_last,
        )

    # --- Ending -------------------------------------------------------------------------------------------------

    def record(self, failure: Literal["Diverged", "OutOfMemory"] | None = None) -> Run:
        """What this run was."""
        pace = self.trainer.pace
        if failure is None and (not self.curve or self.curve[-1].steps < self.trainer.step):
            self._note()
        return Run(
            regime=self.regime,
            steps=self.trainer.step,
            validation_accuracy=None if self.best is None else self.best.accuracy,
            failure=failure,
            step_seconds=pace.median_step_seconds if pace.step_seconds else None,
            seconds=self.seconds,
            points=self.curve,
        )

    def test(self) -> Evaluation | None:
        """Evaluate the best weights on the test images, once; not at all if that would exceed the limit."""
        if self.best is None or not len(self.dataset.splits.test):
            return None
        self.trainer.model.load_state_dict(self.best.weights)
        if self.clock.remaining_seconds() < self.costs.test_seconds + self.costs.upload_seconds:
            log.warning("No time is left to read the test images; the model is delivered without a test accuracy.")
            return None
        return self._evaluation(self.dataset.splits.test)

    def weights(self) -> bytes:
        """The best weights as safetensors."""
        if self.best is not None:
            self.trainer.model.load_state_dict(self.best.weights)
        return weights_bytes(self.network)
