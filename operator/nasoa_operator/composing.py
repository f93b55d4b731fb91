"""What the statuses of both kinds have in common: each is composed whole, around what its kind alone can tell. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from nasoa_operator.obstacles import ACCEPTED, Obstacle, hindered, without_obstacles
from nasoa_runtime.api.base import TERMINAL
from nasoa_runtime.api.conditions import Condition, Truth, set_condition, shorten
from nasoa_runtime.api.finetune_status import FineTuneRequestStatus
from nasoa_runtime.api.search_status import NASSearchStatus
from nasoa_runtime.api.types import timestamp

O = TypeVar("O")  # noqa: E741 - an observation
S = TypeVar("S", NASSearchStatus, FineTuneRequestStatus)


class Observed(Protocol):
    """What conditions ask of either snapshot."""

    @property
    def object_generation(self) -> int: ...  # noqa: D102
    @property
    def now(self) -> datetime: ...  # noqa: D102


def compose(
    known: S,
    generation: int,
    now: datetime,
    describe: Callable[[O, S], S],
    observed: O | None,
    obstacle: Obstacle | None,
) -> dict[str, Any]:
    """The status of an object, whole.

    Args:
        known: the status as it was read.
        generation: of the object that this status describes.
        now: the time of conditions that change.
        describe: the status of what is observed, from that and what was known: all but generation, times and obstacles.
        observed: everything that is known; without it, what was known before stays, and the obstacle is told.
        obstacle: what keeps the object from going on.
    """
    if observed is None or (obstacle is not None and obstacle.condition == ACCEPTED):
        return hindered(known, obstacle, generation, now, observed=observed is not None).to_manifest()
    status = describe(observed, known)
    ended = status.phase in TERMINAL
    changes = {
        "observed_generation": generation,
        "conditions": tuple(without_obstacles(status.conditions, generation, now, ended=ended, still=obstacle)),
        "start_time": known.start_time or timestamp(now),
        "completion_time": known.completion_time or (timestamp(now) if ended else None),
        "message": status.message if obstacle is None else shorten(obstacle.text),
    }
    return status.model_copy(update=changes).to_manifest()


def condition(
    observed: Observed, before: Sequence[Condition], kind: str, truth: Truth, reason: str, message: str
) -> list[Condition]:
    """``before`` with one condition set for the observed object."""
    return set_condition(before, kind, truth, reason, message, observed.object_generation, observed.now)
