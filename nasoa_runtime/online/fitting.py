"""What fits in T_l: of each way to run a model, how many steps, and what the whole run takes. Pure.

The seconds of a step follow from the step-time table, corrected by what the probe saw; what T_l leaves beside start-up,
validation and upload, divided by them, is the largest number of iterations. The grid takes that and fractions of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.architecture.structure import HEAD_ONLY
from nasoa_runtime.boundary import DatasetStatistics
from nasoa_runtime.online.candidates import Grid, ModelChoice, Overheads, Request
from nasoa_runtime.online.step_costs import mixings, step_seconds

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

HEAD_STEP_SECONDS = 0.002
"""A linear probe's step once its features are there: an update of one layer, which took 0.3 to 1.1 ms on the core that
the usual factors of :mod:`.step_costs` were measured on."""
RESERVE_SAFETY, RESERVE_SECONDS = 1.5, 1.0
"""What a pod holds back for the end of a run over what it expects (``budget`` among the pods' code). A training gives
up some of its steps for that; a probe that is planned to the last second would be given up itself."""


@dataclass(frozen=True)
class Cells:
    """Ways to run models that differ in what they cost, as columns of shape (c,)."""

    model: Integers
    """Index of the model."""
    frozen_stages: Integers
    batch_size: Integers
    optimizer: Integers
    """Index in the grid's optimizers."""
    ema: Flags
    mixed: Flags
    mirroring: Flags
    augmentation: Integers
    """Index in the grid's augmentations."""
    linear_probe: Flags
    step_seconds: Floats
    """Of each step, loading included."""
    first_seconds: Floats
    """What each of the first steps costs beyond that."""
    first_steps: Floats
    """How many these are; they need not be whole."""
    fixed_seconds: Floats
    """Of all that is not steps."""
    largest: Integers
    """The most iterations that T_l and the cap in epochs allow; 0 where too few do."""

    def __len__(self) -> int:
        return int(self.model.shape[0])

    def take(self, rows: Integers | Flags) -> Cells:
        """Some of them, by number or by flag."""
        return Cells(**{column.name: getattr(self, column.name)[rows] for column in fields(self)})

    def seconds(self, steps: Integers, rows: Integers | slice = slice(None)) -> Floats:
        """What whole runs of so many steps take."""
        first = self.first_seconds[rows] * np.minimum(steps, self.first_steps[rows])
        seconds: Floats = self.fixed_seconds[rows] + steps * self.step_seconds[rows] + first
        return seconds


def fitting(
    request: Request, models: Sequence[ModelChoice], dataset: DatasetStatistics, overheads: Overheads, grid: Grid
) -> tuple[Cells, float]:
    """All that fits, and the least T_l with which anything would; infinity where nothing was measured.

    Args:
        request: its time limit and number of steps; what else it pins, the grid has.
        models: what may be run.
        dataset: on which.
        overheads: of the node.
        grid: as the request's pins leave it.
    """
    kinds = [_trainings(models, dataset, overheads, grid)] if grid.trainings else []
    if grid.linear_probes:
        kinds.append(_linear_probes(models, dataset, overheads, grid))
    cells = Cells(**{c.name: np.concatenate([getattr(kind, c.name) for kind in kinds]) for c in fields(Cells)})
    least = _least(cells, request, overheads, grid)
    cells = Cells(**{**vars(cells), "largest": _largest(cells, request, dataset, overheads, grid)})
    return cells.take(cells.largest > 0), least


def _trainings(models: Sequence[ModelChoice], dataset: DatasetStatistics, overheads: Overheads, grid: Grid) -> Cells:
    steps = step_seconds(models, grid, overheads.step_correction)
    index = np.indices(steps.shape).reshape(steps.ndim, -1)
    model, frozen, batch, optimizer, average, mixed, mirrored, augmentation = index
    batch_size, ema = np.array(grid.batch_sizes)[batch], np.array(grid.emas)[average]
    # Weights and their average are validated each.
    reads = overheads.validations * dataset.validation_images * np.where(ema, 2, 1) + dataset.test_images
    per_image = _image_seconds(models, overheads)[model]
    augments = np.array([name != "crop" for name in grid.augmentations])[augmentation]
    startup = overheads.startup_seconds + overheads.augmentation_startup_seconds * augments
    nothing = np.zeros(len(model))
    cells = Cells(
        model=model,
        frozen_stages=np.array(grid.frozen_stages)[frozen],
        batch_size=batch_size,
        optimizer=optimizer,
        ema=ema,
        mixed=np.array(mixings(grid))[mixed],
        mirroring=np.array(grid.mirrorings)[mirrored],
        augmentation=augmentation,
        linear_probe=nothing > 0,
        step_seconds=steps.reshape(-1) + overheads.loading_seconds_per_image * batch_size,
        first_seconds=nothing,
        first_steps=nothing,
        fixed_seconds=startup + overheads.upload_seconds + reads * per_image,
        largest=np.zeros(len(model), np.int64),
    )
    return cells.take(~np.isnan(cells.step_seconds))


def _linear_probes(
    models: Sequence[ModelChoice], dataset: DatasetStatistics, overheads: Overheads, grid: Grid
) -> Cells:
    """Every training image goes once through the network, then steps cost next to nothing."""
    shape = (len(models), len(grid.batch_sizes), len(grid.optimizers), len(grid.emas))
    model, batch, optimizer, average = np.indices(shape).reshape(len(shape), -1)
    batch_size = np.array(grid.batch_sizes)[batch]
    per_image = _image_seconds(models, overheads)[model]
    # Features of validation images are computed once too.
    end = overheads.upload_seconds + (dataset.validation_images + dataset.test_images) * per_image
    nothing = np.zeros(len(model), np.int64)
    cells = Cells(
        model=model,
        frozen_stages=np.full(len(model), HEAD_ONLY),
        batch_size=batch_size,
        optimizer=optimizer,
        ema=np.array(grid.emas)[average],
        mixed=nothing > 0,
        mirroring=nothing > 0,
        augmentation=nothing - 1,
        linear_probe=nothing == 0,
        step_seconds=np.full(len(model), HEAD_STEP_SECONDS),
        first_seconds=batch_size * per_image,
        first_steps=dataset.images / batch_size,
        fixed_seconds=overheads.startup_seconds + RESERVE_SAFETY * end + RESERVE_SECONDS,
        largest=nothing,
    )
    return cells.take(per_image > 0)


def _image_seconds(models: Sequence[ModelChoice], overheads: Overheads) -> Floats:
    """Seconds in which each model classifies an image, loading included; of one that was not measured none at all."""
    inference = np.array([model.inference_seconds_per_image for model in models])
    measured = np.array([bool(model.step_seconds) for model in models])
    seconds: Floats = (inference * overheads.step_correction + overheads.loading_seconds_per_image) * measured
    return seconds


def _least(cells: Cells, request: Request, overheads: Overheads, grid: Grid) -> float:
    """The least T_l that any of them needs."""
    if not len(cells):
        return math.inf
    steps = np.full(len(cells), grid.least_steps if request.steps is None else request.steps)
    needed = float(cells.seconds(steps).min())
    limit = needed / (1.0 - overheads.margin)
    while limit * (1.0 - overheads.margin) < needed:  # Rounding may have taken the last bit.
        limit = math.nextafter(limit, math.inf)
    return limit


def _largest(cells: Cells, request: Request, dataset: DatasetStatistics, overheads: Overheads, grid: Grid) -> Integers:
    """Most iterations that T_l and the cap in epochs allow; below the least ones, 0."""
    usable = request.time_limit_seconds * (1.0 - overheads.margin)
    left, slow = usable - cells.fixed_seconds, cells.step_seconds + cells.first_seconds
    within = left <= cells.first_steps * slow
    steps = np.where(within, left / slow, (left - cells.first_seconds * cells.first_steps) / cells.step_seconds)
    largest = np.maximum(0, np.floor(steps)).astype(np.int64)
    # The division may have lost the last bit either way.
    more, over = cells.seconds(largest + 1) <= usable, cells.seconds(largest) > usable
    largest = np.maximum(0, largest + np.where(more, 1, np.where(over, -1, 0)))
    if request.steps is not None:
        return np.where(largest >= request.steps, request.steps, 0)
    cap = np.ceil(grid.most_epochs * dataset.images / cells.batch_size).astype(np.int64)
    capped = np.minimum(largest, np.maximum(cap, grid.least_steps))
    return np.where(largest < grid.least_steps, 0, capped)
