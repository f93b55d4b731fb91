"""What keeps an object from going on, as conditions of its status. Pure.

An obstacle is told as a condition that is false, with a reason, and as the status's message. None of them fails the
object: once it has gone, the condition is true and the object goes on by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from nasoa_runtime.api.conditions import Condition, find_condition, set_condition, shorten
from nasoa_runtime.api.finetune import FineTuneRequestStatus
from nasoa_runtime.api.search import NASSearchStatus

ACCEPTED = "Accepted"
RUNNABLE = "PodsRunnable"
STORAGE = "StorageReachable"
READABLE = "DocumentsReadable"
PASSED = {
    RUNNABLE: ("Runnable", "the pods can run"),
    STORAGE: ("Reachable", "S3 answers"),
    READABLE: ("Readable", "all documents can be read"),
}
"""Reason and message of the conditions that become true again by themselves; they are there from the first time on."""


@dataclass(frozen=True)
class Obstacle:
    """Why an object does not go on: the condition that is false because of it, a reason, and what to do about it."""

    condition: str
    reason: str
    message: str
    prefix: str = ""
    """What the status's message says before the condition's."""

    @property
    def text(self) -> str:
        """The status's message."""
        return f"{self.prefix}{self.message}"


def with_obstacle(
    conditions: Sequence[Condition], obstacle: Obstacle, generation: int, now: datetime
) -> list[Condition]:
    """``conditions`` with the one that ``obstacle`` makes false; the others stay as they are."""
    return set_condition(conditions, obstacle.condition, "False", obstacle.reason, obstacle.message, generation, now)


def without_obstacles(
    conditions: Sequence[Condition], generation: int, now: datetime, *, ended: bool, still: Obstacle | None
) -> list[Condition]:
    """``conditions`` of an object that was observed and planned: all that stood in its way before has passed.

    ``still`` is the obstacle that there is now. What has ended keeps what is said of its pods.
    """
    result = list(conditions)
    for kind, (reason, message) in PASSED.items():
        before = find_condition(result, kind)
        stays = before is None or before.status == "True" or (ended and kind == RUNNABLE)
        if not stays and (still is None or still.condition != kind):
            result = set_condition(result, kind, "True", reason, message, generation, now)
    return result if still is None else with_obstacle(result, still, generation, now)


S = TypeVar("S", NASSearchStatus, FineTuneRequestStatus)


def hindered(known: S, obstacle: Obstacle | None, generation: int, now: datetime, *, observed: bool) -> S:
    """``known`` with nothing changed but what ``obstacle`` says; ``observed``: whether the object itself was seen."""
    if obstacle is None:
        return known
    if not observed:
        conditions = with_obstacle(known.conditions, obstacle, generation, now)
        return known.model_copy(update={"conditions": tuple(conditions), "message": shorten(obstacle.text)})
    conditions = without_obstacles(known.conditions, generation, now, ended=False, still=obstacle)
    changes = {"observed_generation": generation, "conditions": tuple(conditions), "message": shorten(obstacle.text)}
    return known.model_copy(update=changes)
