"""The training loop: an optimiser, warm-up and cosine, mixed precision, one GPU or several."""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from nasoa_runtime.boundary import OptimizerName, Precision
from nasoa_runtime.pods import metrics
from nasoa_runtime.pods.failures import DivergedError
from nasoa_runtime.pods.networks.freezing import train_mode
from nasoa_runtime.pods.training.batches import Batch
from nasoa_runtime.pods.training.device import Target, out_of_memory_named
from nasoa_runtime.pods.training.ema import Ema
from nasoa_runtime.pods.training.learning_rates import advance, held, learning_rate
from nasoa_runtime.pods.training.optimizers.choosing import optimizer_for

CUDA_WINDOW = 10
"""Steps between two synchronisations on a GPU, which would be slower if it had to report after each."""
RECENT = 30
"""Samples kept for the pace that re-planning goes by."""


@dataclass(frozen=True)
class Hyperparameters:
    """How a network is trained, apart from its data and the number of steps."""

    learning_rate: float
    batch_size: int
    optimizer: OptimizerName = "sgd"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    layer_decay: float = 1.0
    label_smoothing: float = 0.0
    ema: bool = False
    warmup_fraction: float = 0.1
    precision: Precision = "fp32"
    channels_last: bool = False
    compile: bool = False


@dataclass
class Pace:
    """Seconds a step, as seen."""

    step_seconds: list[float] = field(default_factory=list)
    """Forward, backward and update: one sample a window."""
    loading_seconds: list[float] = field(default_factory=list)
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    """Both together."""

    def add(self, step: float, loading: float) -> None:
        """Record one window's means."""
        self.step_seconds.append(step)
        self.loading_seconds.append(loading)
        self.recent.append(step + loading)

    @property
    def median_step_seconds(self) -> float:
        """Median over the run."""
        return statistics.median(self.step_seconds)

    @property
    def median_loading_seconds(self) -> float:
        """Median over the run."""
        return statistics.median(self.loading_seconds)

    @property
    def expected_seconds(self) -> float:
        """What one more step will take, loading included: the recent mean, as a hiccup costs time too."""
        return statistics.fmean(self.recent) if self.recent else 0.0


class Trainer:
    """One run: a network, its optimiser, and how far it has come.

    The model is moved to the device in place. ``step`` and ``progress`` are all that a resumed run needs besides the
    tensors.
    """

    def __init__(self, model: nn.Module, hyperparameters: Hyperparameters, target: Target) -> None:
        layout = torch.channels_last if hyperparameters.channels_last else torch.contiguous_format
        with out_of_memory_named("Loading the network"):
            self.model = model.to(target.device, memory_format=layout)  # type: ignore[call-overload]
        self.hyperparameters, self.target = hyperparameters, target
        self.optimizer = optimizer_for(
            self.model,
            hyperparameters.optimizer,
            learning_rate=hyperparameters.learning_rate,
            momentum=hyperparameters.momentum,
            weight_decay=hyperparameters.weight_decay,
            layer_decay=hyperparameters.layer_decay,
        )
        self.scaler = torch.amp.GradScaler(
            target.device.type, enabled=hyperparameters.precision == "fp16" and target.is_cuda
        )
        runner = torch.compile(self.model) if hyperparameters.compile else self.model
        if target.world > 1:
            runner = DistributedDataParallel(runner, device_ids=[target.device.index] if target.is_cuda else None)
        self._runner = runner
        self.step, self.progress = 0, 0.0
        self.planned_steps = 1
        self.warmup_steps: int | None = None
        """Steps in which the rate rises, to be held from then on; without them it rises and falls as planned."""
        self.pace = Pace()
        self.loss = math.nan
        train_mode(self.model)
        self.ema = Ema(self.model) if hyperparameters.ema else None

    def plan(self, steps: int) -> None:
        """Set the number of steps of the whole run, those done included; may be called at any time."""
        self.planned_steps = max(steps, self.step)
        metrics.PLANNED_STEPS.set(self.planned_steps)

    @property
    def finished(self) -> bool:
        """Whether all planned steps are done."""
        return self.step >= self.planned_steps

    def train(self, batches: Iterator[Batch], steps: int) -> None:
        """Do ``steps`` more steps (fewer if fewer are planned), in windows that are timed as a whole.

        Raises:
            DivergedError: The loss is NaN or infinite.
            OutOfMemoryError: A step did not fit into memory.
        """
        left = min(steps, self.planned_steps - self.step)
        while left > 0:
            # The first steps are timed one by one, so that a figure is there early.
            window = min(CUDA_WINDOW if self.target.is_cuda and self.step >= CUDA_WINDOW else 1, left)
            self._window(batches, window)
            left -= window

    def _window(self, batches: Iterator[Batch], steps: int) -> None:
        started = self.target.now()
        loading = 0.0
        loss = torch.zeros(())
        for _ in range(steps):
            asked = time.perf_counter()
            with out_of_memory_named("Loading a batch"):
                images, labels = next(batches)
            loading += time.perf_counter() - asked
            with out_of_memory_named("A training step"):
                loss = self._one_step(images, labels)
        elapsed = self.target.now() - started
        value = float(loss)
        if not math.isfinite(value):
            msg = f"The loss became {value} at step {self.step}: choose a lower learning rate."
            raise DivergedError(msg)
        self.loss = value if math.isnan(self.loss) else 0.9 * self.loss + 0.1 * value
        self.pace.add(max(elapsed - loading, 1e-9) / steps, loading / steps)
        self._report(elapsed / steps)

    def _one_step(self, images: Tensor, labels: Tensor) -> Tensor:
        progress = self._advanced()
        self.optimizer.learning_rate = learning_rate(
            self.hyperparameters.learning_rate, progress, self.hyperparameters.warmup_fraction
        )
        # Images come channels-last from the loader; a network laid out otherwise wants them contiguous.
        images = images.contiguous(
            memory_format=torch.channels_last if self.hyperparameters.channels_last else torch.contiguous_format
        )
        with self.target.autocast(self.hyperparameters.precision):
            logits = self._runner(images)
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=self.hyperparameters.label_smoothing)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.update()
        self.progress = progress
        self.step += 1
        if self.ema is not None:
            self.ema.update(self.step)
        return loss.detach()

    def _advanced(self) -> float:
        """How far the rate's course is after one more step."""
        if self.warmup_steps is not None:
            return held(self.progress, self.hyperparameters.warmup_fraction, self.warmup_steps)
        return advance(self.progress, self.planned_steps - self.step)

    def update(self) -> None:
        """Apply the gradients, unscaled first where they were scaled, and forget them."""
        if self.scaler.is_enabled():
            # The scaler asks for no more of an optimiser than its parameter groups and its step.
            self.scaler.step(cast("torch.optim.Optimizer", self.optimizer))
            self.scaler.update()
        else:
            self.optimizer.step()
        self.optimizer.zero_grad()

    def _report(self, seconds: float) -> None:
        metrics.STEP.set(self.step)
        metrics.LOSS.set(self.loss)
        metrics.IMAGES_PER_SECOND.set(self.hyperparameters.batch_size / seconds)
        if self.step <= 20 or self.step % 20 == 0:
            metrics.STEP_SECONDS.set(self.pace.median_step_seconds)
            metrics.LOADING_SECONDS.set(self.pace.median_loading_seconds)
            metrics.MEMORY_BYTES.set(self.target.peak_memory_bytes())
