"""What is said about an object: Events for what its plans did, and for conditions that changed. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from nasoa_operator.jobs import Owner
from nasoa_operator.obstacles import ACCEPTED, READABLE, RUNNABLE, STORAGE
from nasoa_operator.plan import Event, Manifest
from nasoa_runtime.api.types import timestamp

PLACES = {
    "Accepted": 0,
    **dict.fromkeys(("Probed", "FineTuned", "StepTimesMeasured", "GenerationEvaluated", "ModelsPretrained"), 1),
    "StepTimeTableMeasured": 1,
    **dict.fromkeys(("StepTimesAdded", "Learned", "NothingLearned", "LevelEnded", "LimitReached"), 2),
    **dict.fromkeys(("Scheduled", "GenerationStarted", "ModelsSelected", "Published"), 3),
    "JobCreated": 4,
}
"""Where an event stands among those of one second, by its reason: what came of a step, what is decided, what is begun.
The times of events are whole seconds, and readers show those of one second in the order of their names."""
BAD = {("Failed", "True"), *((kind, "False") for kind in (ACCEPTED, RUNNABLE, STORAGE, READABLE))}
"""Conditions, with their status, that are told as warnings."""
LAST = 5
"""The place of all others: how an object ended, or what keeps it."""
LONGEST_MESSAGE = 1000
"""Bytes; the API server takes 1,024."""


def failed(reason: str, message: str) -> Event:
    """An object fails here. It is the event of condition Failed, too, so that it is written by either, and once."""
    return Event(reason, message, _key("Failed", "True", reason), type="Warning")


def transitions(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Event]:
    """Events for conditions that changed for the worse or for good, beside those of the documents."""
    known = {c["type"]: (c["status"], c["reason"]) for c in before.get("conditions", [])}
    events = []
    for c in after.get("conditions", []):
        if known.get(c["type"]) == (c["status"], c["reason"]):
            continue
        bad = (c["type"], c["status"]) in BAD
        if bad or c["type"] in {"Accepted", "Complete"}:
            key = _key(c["type"], c["status"], c["reason"])
            events.append(Event(c["reason"], c["message"], key, "Warning" if bad else "Normal"))
    return events


def event_manifest(owner: Owner, event: Event, now: datetime) -> Manifest:
    """An Event about the owner, with a name that follows from what it says."""
    mark = hashlib.sha256(f"{owner.uid}/{event.key}/{event.reason}".encode()).hexdigest()[:16]
    name = f"{owner.name[:200]}.{PLACES.get(event.reason, LAST)}{mark}"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": owner.namespace},
        "involvedObject": {
            "apiVersion": owner.api_version,
            "kind": owner.kind,
            "namespace": owner.namespace,
            "name": owner.name,
            "uid": owner.uid,
        },
        "reason": event.reason,
        "message": event.message.encode()[:LONGEST_MESSAGE].decode(errors="ignore"),
        "type": event.type,
        "firstTimestamp": timestamp(now),
        "lastTimestamp": timestamp(now),
        "count": 1,
        "source": {"component": "nasoa-operator"},
        "reportingComponent": "nasoa-operator",
    }


def _key(kind: str, truth: str, reason: str) -> str:
    """The key of a condition's event."""
    return f"{kind}-{truth}-{reason}"
