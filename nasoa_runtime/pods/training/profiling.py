"""Step times T_s (SPEC 3): synchronised steps on a resident synthetic batch, alone on the device.

Everything here runs in the measuring process; :mod:`.isolation` keeps one for each network.
"""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from nasoa_runtime.boundary import (
    LEAST_FACTOR,
    MOST_FACTOR,
    Device,
    OptimizerName,
    Precision,
    Preprocessing,
    StepFactors,
    StepTime,
)
from nasoa_runtime.pods.dataset.images import load_size
from nasoa_runtime.pods.dataset.reading import Dataset
from nasoa_runtime.pods.dataset.split import Splits
from nasoa_runtime.pods.failures import OutOfMemoryError
from nasoa_runtime.pods.networks.building import build_model
from nasoa_runtime.pods.networks.freezing import freeze
from nasoa_runtime.pods.training.augmentation import CROPS, Augmentation
from nasoa_runtime.pods.training.batches import Loader
from nasoa_runtime.pods.training.device import Target, out_of_memory_named, prepare, product_of
from nasoa_runtime.pods.training.loop import Hyperparameters, Trainer

log = logging.getLogger(__name__)

WARM_UP_STEPS = {"cpu": 3, "cuda": 10}
LEAST_STEPS = 5
"""Steps after which a network that is far too slow is given up."""
CHOOSING_STEPS = 5
FACTORS_SECONDS = 20.0
"""Measuring the options of one network ends after this long with the turns that there are."""
NOISY_SECONDS, MOST_TURNS = 1.0, 200
"""Turns go on for so long, but are never more than that."""
LAYOUTS: dict[str, tuple[tuple[bool, Precision], ...]] = {
    "cpu": ((False, "fp32"), (True, "fp32"), (True, "bf16")),
    "cuda": ((False, "fp32"), (True, "fp32"), (False, "bf16"), (True, "bf16"), (True, "fp16")),
}
"""(channels last, precision) to choose from. All train to the same accuracy within noise; only speed differs."""


@dataclass(frozen=True)
class Task:
    """What to measure of one network."""

    architecture: str
    classes: int
    batch_size: int
    image_size: int
    device: Device
    low_resolution_stem: bool = False
    precision: Precision = "fp32"
    channels_last: bool = False
    choose_layout: bool = False
    frozen_stages: tuple[int, ...] = (0,)
    steps: int = 20
    give_up_seconds: float | None = None
    """A step time beyond which exactness no longer matters."""
    row_seconds: float = math.inf
    """Timing of one row ends after this long with the steps that there are, five at the least."""
    with_inference: bool = False
    other_batch_sizes: tuple[int, ...] = ()
    """Each gets a row of its own, with nothing frozen."""
    with_factors: bool = False
    """Whether to measure how much options slow a step."""


def measure(task: Task) -> Iterable[StepTime | StepFactors]:
    """Measure one row for each number of frozen stages, in the layout that suits the network, then what else is asked.

    Raises:
        OutOfMemoryError: It does not fit.
        BadInputError: There is no such architecture.
    """
    target = prepare(task.device)
    product = product_of(task.device)
    if task.choose_layout:
        task = _with_best_layout(task, target)
    for frozen_stages in task.frozen_stages:
        yield _row(task, target, frozen_stages)
    for batch_size in task.other_batch_sizes:
        yield _row(replace(task, batch_size=batch_size), target, 0)
    if task.with_factors:
        limited = replace(task, frozen_stages=(0,), row_seconds=min(task.row_seconds, FACTORS_SECONDS))
        factors = option_factors(limited)
        yield StepFactors(device=task.device.type, product=product, count=task.device.count, factors=factors)


def _row(task: Task, target: Target, frozen_stages: int) -> StepTime:
    trainer = _trainer(task, target, frozen_stages)
    step_seconds = median_step_seconds(trainer, task, task.steps)
    inference = inference_seconds(trainer.model, task, target) if task.with_inference else None
    return StepTime(
        device=task.device.type,
        product=product_of(task.device),
        count=task.device.count,
        batch_size=task.batch_size,
        image_size=task.image_size,
        frozen_stages=frozen_stages,
        channels_last=task.channels_last,
        precision=task.precision,
        step_seconds=step_seconds,
        inference_seconds=inference,
    )


def _trainer(task: Task, target: Target, frozen_stages: int) -> Trainer:
    torch.manual_seed(0)
    model = build_model(task.architecture, task.classes, low_resolution_stem=task.low_resolution_stem)
    freeze(model, frozen_stages)
    hyperparameters = Hyperparameters(
        learning_rate=0.01,
        batch_size=task.batch_size,
        precision=task.precision,
        channels_last=task.channels_last,
    )
    return Trainer(model, hyperparameters, target)


def _synthetic(task: Task, target: Target) -> tuple[torch.Tensor, torch.Tensor]:
    """One batch that stays on the device. On several GPUs each takes its share, and one share is what is timed."""
    share = max(task.batch_size // (task.device.count if target.is_cuda else 1), 1)
    layout = torch.channels_last if task.channels_last else torch.contiguous_format
    with out_of_memory_named("A synthetic batch"):
        images = torch.randn(share, 3, task.image_size, task.image_size).to(target.device, memory_format=layout)
        labels = torch.arange(share).remainder(task.classes).to(target.device)
    return images, labels


def median_step_seconds(trainer: Trainer, task: Task, steps: int) -> float:
    """Median seconds of forward, backward and update over ``steps`` steps after a warm-up."""
    target, precision = trainer.target, task.precision
    images, labels = _synthetic(task, target)

    def one_step() -> float:
        started = target.now()
        with out_of_memory_named("A training step"), target.autocast(precision):
            loss = F.cross_entropy(trainer.model(images).float(), labels)
            trainer.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            trainer.update()
        return target.now() - started

    started = target.now()
    for _ in range(WARM_UP_STEPS[target.device.type]):
        one_step()
    times: list[float] = []
    while len(times) < steps:
        times.append(one_step())
        hopeless = task.give_up_seconds is not None and min(times) > task.give_up_seconds
        late = target.now() - started > task.row_seconds
        if (hopeless or late) and len(times) >= LEAST_STEPS:
            break
    return statistics.median(times)


def inference_seconds(model: nn.Module, task: Task, target: Target) -> float:
    """Median seconds of a forward pass of one batch in evaluation mode."""
    images, _ = _synthetic(task, target)
    times = []
    model.eval()
    with out_of_memory_named("A forward pass"), torch.inference_mode(), target.autocast(task.precision):
        for _ in range(2 + max(task.steps // 4, 3)):
            started = target.now()
            model(images)
            times.append(target.now() - started)
    return statistics.median(times[2:])


def _with_best_layout(task: Task, target: Target) -> Task:
    """The task in the layout and precision in which this network trains fastest here."""
    timed: dict[tuple[bool, Precision], float] = {}
    failure: OutOfMemoryError | None = None
    for channels_last, precision in LAYOUTS[target.device.type]:
        tried = replace(task, channels_last=channels_last, precision=precision)
        try:
            timed[channels_last, precision] = median_step_seconds(_trainer(tried, target, 0), tried, CHOOSING_STEPS)
        except OutOfMemoryError as error:
            failure = error
        except RuntimeError as error:
            log.info("%s does not train in %s: %s", task.architecture, precision, error)
    if not timed:
        raise failure or OutOfMemoryError("No layout or precision trains here.")
    channels_last, precision = min(timed, key=timed.__getitem__)
    return replace(task, channels_last=channels_last, precision=precision)


@dataclass(frozen=True)
class Option:
    """What a regime may ask for beside a plain step, which is SGD on crops."""

    optimizer: OptimizerName = "sgd"
    ema: bool = False
    augmentation: Augmentation = CROPS


PLAIN = Option()
OPTIONS: Mapping[str, Option] = {
    "adamw": Option(optimizer="adamw"),
    "ema": Option(ema=True),
    "mirroring": Option(augmentation=Augmentation(mirroring=True)),
    "mixup": Option(augmentation=Augmentation(mixup=0.2)),
    "rand-augment": Option(augmentation=Augmentation("rand-augment")),
    "trivial-augment": Option(augmentation=Augmentation("trivial-augment")),
}
"""By name, each alone. None of them is slower for another strength."""


def option_factors(task: Task, options: Mapping[str, Option] = OPTIONS) -> dict[str, float]:
    """How many times as long as a plain step one with each option takes: loading, forward, backward and update.

    Options take turns step by step, and a factor is the median of the ratios of steps in the same turn: a node that
    becomes slower meanwhile slows both. Steps of a millisecond are noisy, so turns are taken for a second at least. No
    option makes steps faster, and none five times as slow: what says so is noise, and is clipped to [1, 5]. Images are
    in memory; where they are decoded for each step, augmentation is hidden behind that or adds to it alike.

    Args:
        task: The network, the batch and the device, with the first of its numbers of frozen stages.
        options: What to measure.

    Raises:
        OutOfMemoryError: It does not fit.
        BadInputError: There is no such architecture.
    """
    target = prepare(task.device)
    model = _trainer(task, target, task.frozen_stages[0]).model
    # One network serves all, as weights hardly move at this rate and time does not depend on them.
    steps = {name: _step_with(option, model, task, target) for name, option in {"": PLAIN, **options}.items()}
    turns: list[dict[str, float]] = []
    warm_up, started = WARM_UP_STEPS[target.device.type], target.now()
    while len(turns) < warm_up + _most_turns(task):
        seconds = target.now() - started
        enough = len(turns) >= warm_up + task.steps and seconds >= NOISY_SECONDS
        if enough or (seconds > task.row_seconds and len(turns) >= warm_up + LEAST_STEPS):
            break
        # Whoever comes first in one turn comes last in the next: what a step leaves in caches must not favour anyone.
        order = list(steps)[:: 1 if len(turns) % 2 else -1]
        turns.append({name: steps[name]() for name in order})
    ratios = {name: statistics.median(turn[name] / turn[""] for turn in turns[warm_up:]) for name in options}
    return {name: min(max(ratio, LEAST_FACTOR), MOST_FACTOR) for name, ratio in ratios.items()}


def _most_turns(task: Task) -> int:
    return max(task.steps, MOST_TURNS)


def _step_with(option: Option, model: nn.Module, task: Task, target: Target) -> Callable[[], float]:
    """A function that does one step and returns its seconds."""
    share = max(task.batch_size // (task.device.count if target.is_cuda else 1), 1)
    hyperparameters = Hyperparameters(
        learning_rate=1e-9,
        batch_size=share,
        optimizer=option.optimizer,
        ema=option.ema,
        precision=task.precision,
        channels_last=task.channels_last,
    )
    trainer = Trainer(model, hyperparameters, target)
    trainer.plan(WARM_UP_STEPS[target.device.type] + _most_turns(task))
    preprocessing = Preprocessing(image_size=task.image_size)
    loader = Loader(_noise(task, 2 * share), preprocessing, share, 0, target, option.augmentation)
    batches = loader.training()

    def step() -> float:
        started = target.now()
        trainer.train(batches, 1)
        return target.now() - started

    return step


def _noise(task: Task, images: int) -> Dataset:
    """Images of noise in memory, for training only."""
    side, nothing = load_size(task.image_size), np.empty(0, dtype=np.int64)
    return Dataset(
        classes=tuple(map(str, range(task.classes))),
        digest="",
        labels=np.arange(images, dtype=np.int64) % task.classes,
        splits=Splits(np.arange(images, dtype=np.int64), nothing, nothing),
        side=side,
        interpolation="bilinear",
        pixels=np.random.default_rng(0).integers(0, 256, (images, side, side, 3), dtype=np.uint8),
    )


def drift_factor(known_seconds: float | None, measured_seconds: float | None, tolerance: float = 0.03) -> float:
    """By how much to scale a list's figures when its anchor took ``measured_seconds`` instead of ``known_seconds``."""
    if known_seconds is None or measured_seconds is None:
        return 1.0
    factor = known_seconds / measured_seconds
    return factor if abs(factor - 1) > tolerance else 1.0


MeasureFunction = Callable[[Task], Iterable[StepTime | StepFactors]]
