"""How runs are trained, as columns: thousands of candidates at once, or one run that was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.boundary import Regime

Floats = NDArray[np.float64]
Words = NDArray[np.str_]
WORDS = ("optimizer", "augmentation")
"""Columns of a regime that hold words."""
DEFAULTS: Mapping[str, Any] = {
    name: Regime.model_fields[name].default
    for name in (
        "optimizer", "momentum", "weight_decay", "layer_decay", "label_smoothing", "mixup", "mirroring",
        "augmentation", "ema", "linear_probe",
    )
}  # fmt: skip
"""What a regime says of itself where it says nothing else."""


@dataclass(frozen=True)
class Regimes:
    """How n runs are trained, as columns of shape (n,): what a :class:`~nasoa_runtime.boundary.Regime` says of each.

    Build it with :meth:`of_columns` or :meth:`of`, which fill in what a regime's defaults say.
    """

    model: NDArray[np.int64]
    """Index of each run's model."""
    learning_rate: Floats
    """Peak of the schedule."""
    frozen_stages: Floats
    iterations: Floats
    """Steps of a run that is planned; those that were done, of one that was."""
    planned_iterations: Floats
    """Steps over which the schedule is laid."""
    annealed: Floats
    """1 where the learning rate has come down to its end at ``iterations``, else 0: a run that is planned, or that was
    done as planned, has; one that a race has stopped has not."""
    held: Floats
    """1 where a race holds the rate at its peak until it is known which run survives."""
    batch_size: Floats
    optimizer: Words
    momentum: Floats
    weight_decay: Floats
    layer_decay: Floats
    label_smoothing: Floats
    mixup: Floats
    mirroring: Floats
    augmentation: Words
    ema: Floats
    linear_probe: Floats

    def __len__(self) -> int:
        return int(self.model.shape[0])

    @classmethod
    def of_columns(
        cls,
        model: NDArray[np.int64],
        learning_rate: Floats,
        frozen_stages: Floats,
        iterations: Floats,
        batch_size: float | Floats,
        **others: Any,
    ) -> Regimes:
        """Runs by columns; of those that are not named, each run has what a regime says by default.

        Args:
            model: index of each run's model, shape (n,).
            learning_rate: peak of the schedule.
            frozen_stages: as in a regime.
            iterations: steps, planned or done.
            batch_size: of each run, or of all.
            others: any of the other columns, of shape (n,) or one value for all. Without ``planned_iterations`` and
                ``annealed`` the runs are planned for just these steps.
        """
        columns = {
            **DEFAULTS,
            "planned_iterations": iterations,
            "annealed": 1.0,
            "held": 0.0,
            "batch_size": batch_size,
            **others,
        }
        full: dict[str, Any] = {
            name: np.broadcast_to(np.asarray(value, np.str_ if name in WORDS else np.float64), model.shape)
            for name, value in columns.items()
        }
        rate, frozen, steps = (np.asarray(column, np.float64) for column in (learning_rate, frozen_stages, iterations))
        return cls(model, rate, frozen, steps, **full)

    @classmethod
    def of(cls, regimes: Sequence[Regime], batch_size: int, models: Sequence[int] | None = None) -> Regimes:
        """Runs as planned.

        Args:
            regimes: one for each run.
            batch_size: of regimes that name none.
            models: index of each run's model; without it all are of the first.
        """
        columns = {name: [getattr(regime, name) for regime in regimes] for name in DEFAULTS}
        return cls.of_columns(
            np.zeros(len(regimes), np.int64) if models is None else np.array(models, np.int64),
            np.array([regime.learning_rate for regime in regimes], np.float64),
            np.array([regime.frozen_stages for regime in regimes], np.float64),
            np.array([regime.steps for regime in regimes], np.float64),
            np.array([regime.batch_size or batch_size for regime in regimes], np.float64),
            **columns,
        )
