"""The learning rate over a run whose length may still change.

Its course goes from 0 to 1: it rises up to the warm-up's share of that, and then falls. Between both it may be held.
"""

from __future__ import annotations

import math


def learning_rate(base: float, progress: float, warmup_fraction: float) -> float:
    """Linear warm-up, then a cosine to zero.

    Args:
        base: Peak learning rate.
        progress: Share of the run that is done, 0 to 1.
        warmup_fraction: Share of the run in which the rate rises.
    """
    if progress < warmup_fraction:
        return base * progress / warmup_fraction
    rest = 1 - warmup_fraction
    return base if rest <= 0 else base * 0.5 * (1 + math.cos(math.pi * min((progress - warmup_fraction) / rest, 1)))


def advance(progress: float, remaining_steps: int) -> float:
    """Progress after one more step of ``remaining_steps``: what is left is shared out evenly.

    When the planned number of steps changes, the pace changes and the rate stays continuous.
    """
    return 1.0 if remaining_steps <= 1 else progress + (1 - progress) / remaining_steps


def held(progress: float, warmup_fraction: float, warmup_steps: int) -> float:
    """Progress after one more step while the rate is not to fall: it rises over ``warmup_steps``, and then stays."""
    return max(progress, min(warmup_fraction, progress + warmup_fraction / warmup_steps))
