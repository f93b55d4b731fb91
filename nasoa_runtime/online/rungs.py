"""The rungs of a race, live and in replays: who starts, and what share of the time a rung is."""

from __future__ import annotations

from nasoa_runtime.boundary import MOST_REGIMES

STARTERS = MOST_REGIMES
"""At most so many candidates start."""
FIRST_RUNG = 0.3
"""Share of the time that the starters have together."""
RUNG = 0.05
"""Share of each later rung."""
