"""Limits of a search. Pure: once one is reached, that is persisted, and not judged again.

A limit ends the search early; what was found by then is still pretrained and published.
"""

from __future__ import annotations

from nasoa_operator.search.observed import ObservedSearch
from nasoa_runtime.documents.search import Evaluations, Limit, Measurements
from nasoa_runtime.durations import seconds
from nasoa_runtime.search.individuals import LEVELS


def device_seconds(observed: ObservedSearch) -> float:
    """Seconds of pods' time recorded so far, times the devices of a pod."""
    records = observed.records
    spent = sum(record.seconds for record in records.all_of(Measurements))
    spent += sum(e.seconds for record in records.all_of(Evaluations) for e in record.evaluations)
    spent += sum(model.result.seconds for model in (records.pretrained.models if records.pretrained else ()))
    spent += records.table.seconds if records.table else 0.0
    return spent * observed.spec.device.count


def failed_evaluations(observed: ObservedSearch) -> int:
    """Evaluations that gave no accuracy."""
    return sum(i.accuracy is None for level in LEVELS for i in observed.records.individuals(level))


def limit_reached(observed: ObservedSearch) -> Limit | None:
    """The first limit that is reached while the search runs; ``None`` where none is.

    ``maxEvaluations`` is not among them: the levels count it themselves, and no running generation is cut off by it.
    """
    if observed.records.limit is not None or observed.records.end("macro") is not None:
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
    return None if message is None else Limit(message=message, reached_at=observed.now)
