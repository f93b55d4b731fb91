"""Limits of a search. Pure: once one is reached, that is persisted, and not judged again.

A limit ends the search early; what was found by then is still pretrained and published.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nasoa_operator.search.observed import LEVELS, ObservedSearch, individuals
from nasoa_runtime.durations import seconds


def device_seconds(observed: ObservedSearch) -> float:
    """Seconds of pods' time recorded so far, times the devices of a pod."""
    spent = 0.0
    for key, document in observed.documents.items():
        if "/profile-" in key or key == "table.json":
            spent += document["seconds"]
        elif key.endswith("/evaluations.json"):
            spent += sum(e["seconds"] for e in document["evaluations"])
        elif key == "pretrained.json":
            spent += sum(m["seconds"] for m in document["models"])
    return spent * observed.spec.device.count


def failed_evaluations(observed: ObservedSearch) -> int:
    """Evaluations that gave no accuracy."""
    return sum(i.accuracy is None for level in LEVELS for i in individuals(observed, level))


def limit_reached(observed: ObservedSearch) -> Mapping[str, Any] | None:
    """The record of the first limit that is reached while the search runs; ``None`` where none is.

    ``maxEvaluations`` is not among them: the levels count it themselves, and no running generation is cut off by it.
    """
    if observed.document("limit") is not None or observed.document("macro", "end") is not None:
        return None
    limits = observed.spec.limits
    failed = failed_evaluations(observed)
    elapsed = (observed.now - observed.created).total_seconds()
    hours = device_seconds(observed) / 3600
    message = None
    if limits.max_failed_evaluations is not None and failed > limits.max_failed_evaluations:
        message = f"{failed} evaluations failed, spec.limits.maxFailedEvaluations is {limits.max_failed_evaluations}"
    elif limits.max_wall_clock is not None and elapsed > seconds(limits.max_wall_clock):
        message = f"running for {elapsed:.0f} s, spec.limits.maxWallClock is {limits.max_wall_clock}"
    elif limits.max_gpu_hours is not None and hours > limits.max_gpu_hours:
        message = f"{hours:.2f} device-hours used, spec.limits.maxGPUHours is {limits.max_gpu_hours}"
    if message is None:
        return None
    return {
        "formatVersion": 1,
        "reason": "LimitReached",
        "message": message,
        "reachedAt": observed.now.isoformat(),
    }
