"""Conditions as in the Kubernetes API conventions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from nasoa_runtime.api.base import StatusPart
from nasoa_runtime.api.types import Timestamp, timestamp

MESSAGE_LIMIT = 2048


def shorten(text: Any, limit: int = MESSAGE_LIMIT) -> Any:
    """Cut a text to what the API server takes; the end is marked."""
    return text[: limit - 1] + "…" if isinstance(text, str) and len(text) > limit else text


Message = Annotated[str, BeforeValidator(shorten), Field(max_length=MESSAGE_LIMIT)]
Truth = Literal["True", "False", "Unknown"]


class Condition(StatusPart):
    """One aspect of an object's state, as in the Kubernetes API conventions."""

    type: str = Field(min_length=1, max_length=63, pattern="^[A-Z][A-Za-z]*$")
    """What the condition is about, such as Accepted or Complete."""
    status: Truth
    """Whether the condition holds: True, False, or Unknown."""
    reason: str = Field(min_length=1, max_length=63, pattern="^[A-Z][A-Za-z0-9]*$")
    """Why the condition has this status, in one word that programs can compare."""
    message: Message = ""
    """Why the condition has this status, and what to do about it."""
    observed_generation: int = Field(ge=0)
    """Generation of the object (metadata.generation) for which this was found."""
    last_transition_time: Timestamp
    """When the status of the condition last changed from one value to another."""


Conditions = Annotated[
    tuple[Condition, ...],
    Field(max_length=8, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
]


def set_condition(
    conditions: Sequence[Condition],
    type: str,  # noqa: A002 - the API's own word
    status: Truth,
    reason: str,
    message: str,
    observed_generation: int,
    now: datetime,
) -> list[Condition]:
    """``conditions`` with the one of ``type`` set; its transition time changes only when its status does."""
    before = find_condition(conditions, type)
    since = before.last_transition_time if before is not None and before.status == status else timestamp(now)
    new = Condition(
        type=type,
        status=status,
        reason=reason,
        message=message,
        observed_generation=observed_generation,
        last_transition_time=since,
    )
    if before is None:
        return [*conditions, new]
    return [new if condition.type == type else condition for condition in conditions]


def find_condition(conditions: Sequence[Condition], type: str) -> Condition | None:  # noqa: A002 - the API's own word
    """The condition of ``type``, if it is there."""
    return next((condition for condition in conditions if condition.type == type), None)
