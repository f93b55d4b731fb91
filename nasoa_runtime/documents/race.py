"""What is decided in the course of a race: one document for each rung, written once and followed ever after."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from nasoa_runtime.boundary import MOST_REGIMES, Run, Seconds
from nasoa_runtime.documents.base import Document

Number = Annotated[int, Field(ge=0, lt=MOST_REGIMES)]


class RaceDecision(Document):
    """``race/<rung>``: what a rung is for. In rung 0 all start; of one alone that starts, there is no race."""

    racing: tuple[Number, ...] = Field(min_length=1, max_length=MOST_REGIMES)
    """Numbers of the regimes that are in the race: of rung 0 those that start, in their order; later those that may
    still be delivered, first the one that this rung is for."""
    annealing: bool = False
    """Whether that one has all the time that is left, over which its learning rate falls."""
    trainable_seconds: Seconds
    """What there was to train in when the race began, of which rungs are shares."""
    runs: tuple[Run, ...] = Field(default=(), max_length=MOST_REGIMES)
    """What each has shown by then, those that are out included."""
