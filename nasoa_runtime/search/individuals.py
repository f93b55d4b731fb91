"""An architecture with what is known of it, and its two objectives as numbers to minimise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Level = Literal["block", "macro"]
LEVELS: tuple[Level, ...] = ("block", "macro")
"""In their order."""


@dataclass(frozen=True)
class Individual:
    """One evaluated architecture of a search."""

    encoding: str
    """Canonical."""
    step_seconds: float
    """T_s as the parent node measured it."""
    accuracy: float | None
    """Validation top-1 in [0, 1] after the short training; ``None`` for a failed evaluation."""
    failure: str | None
    """Why there is no accuracy."""
    level: Level
    generation: int
    slot: int
    """Place among the generation's proposals."""


def costs(individuals: Sequence[Individual]) -> NDArray[np.float64]:
    """Both objectives to minimise, shape (n, 2): error in [0, 1] (infinite for a failure), and step seconds."""
    rows = [
        (np.inf if individual.accuracy is None else 1.0 - individual.accuracy, individual.step_seconds)
        for individual in individuals
    ]
    return np.array(rows, np.float64).reshape(-1, 2)


def oldest_first(individuals: Sequence[Individual]) -> list[Individual]:
    """The individuals in the order of generations and slots, which decides between equals."""
    return sorted(individuals, key=lambda individual: (individual.generation, individual.slot, individual.encoding))
