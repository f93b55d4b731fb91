"""The hedge: weights that follow whichever expert loses least, and the discount that bounds its regret."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def hedge(weights: NDArray[np.float64], losses: NDArray[np.float64], beta: float) -> NDArray[np.float64]:
    """The experts' weights after a round: ``weights * beta ** losses``, renormalised.

    Args:
        weights: from before the round, shape (L,), with sum 1.
        losses: of the round, shape (L,), at least 0; what is above 1 counts as 1.
        beta: the discount, in (0, 1]; 1 changes nothing.
    """
    discounted = weights * beta ** np.minimum(losses, 1.0)
    result: NDArray[np.float64] = discounted / discounted.sum()
    return result


def regret_beta(outcomes: int, constant: float = 1.0) -> float:
    """The discount sqrt(T) / (sqrt(T) + C) of Theorem 1, under which average regret is O(1 / sqrt(T)).

    Args:
        outcomes: T, the number of outcomes that are expected.
        constant: C, positive.
    """
    if outcomes < 1 or constant <= 0:
        msg = f"T must be at least 1 and C positive, not {outcomes} and {constant}"
        raise ValueError(msg)
    root = math.sqrt(outcomes)
    return root / (root + constant)


def doubling_beta(outcomes: int, constant: float = 1.0) -> float:
    """The discount of Theorem 1 where T is not known in advance: for the next power of two of ``outcomes``."""
    return regret_beta(1 << max(0, outcomes - 1).bit_length(), constant)
