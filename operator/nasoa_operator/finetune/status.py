"""The status of a request, computed whole from what is recorded. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from nasoa_operator.finetune.observed import ObservedRequest
from nasoa_operator.problems import Problem
from nasoa_operator.steps import latest_try
from nasoa_runtime.api.base import TERMINAL
from nasoa_runtime.api.conditions import Condition, Truth, set_condition, shorten
from nasoa_runtime.api.finetune_status import (
    Alternative,
    ChosenSchedule,
    FineTuneRequestStatus,
    PredictorVersions,
    ProbeFindings,
    RequestPhase,
    RequestResult,
    RunProgress,
)
from nasoa_runtime.api.types import timestamp
from nasoa_runtime.durations import seconds

RUNNERS_UP_SHOWN = 5


def status_of(observed: ObservedRequest, problem: Problem | None = None) -> dict[str, Any]:
    """The whole status; ``problem`` says why the object is not accepted."""
    before = FineTuneRequestStatus.read(observed.status)
    if problem is not None:
        conditions = condition(observed, before.conditions, "Accepted", "False", problem.reason, problem.message)
        changes = {
            "observed_generation": observed.object_generation,
            "message": shorten(problem.message),
            "conditions": tuple(conditions),
        }
        return before.model_copy(update=changes).to_manifest()
    phase, message = phase_and_message(observed)
    status = FineTuneRequestStatus(
        observed_generation=observed.object_generation,
        phase=phase,
        conditions=tuple(conditions_of(observed, before.conditions, phase, message)),
        statistics=statistics(observed),
        schedule=schedule(observed),
        progress=progress(observed),
        result=result(observed),
        predictor=versions(observed),
        start_time=before.start_time or timestamp(observed.now),
        completion_time=before.completion_time or (timestamp(observed.now) if phase in TERMINAL else None),
        message=message,
    )
    return status.to_manifest()


def phase_and_message(observed: ObservedRequest) -> tuple[RequestPhase, str]:
    """The phase, and what the request does for people."""
    failed, done = observed.document("failed"), observed.document("result")
    if failed is not None:
        return "Failed", failed["message"]
    if done is not None:
        if observed.document("learned") is None:
            return "Learning", "the predictor learns from the outcome"
        if done["result"] is None:
            return "Failed", done["failure"]
        return "Succeeded", f"the model is at {done['result']['output_uri']}"
    job = latest_try(observed.jobs, "finetune")
    if observed.document("schedule") is not None:
        if observed.spec.suspend:
            return "Planned", "planned; spec.suspend keeps it from running"
        if job is None or not (job.active or job.finished):
            return "Training", "waiting for the fine-tuning pod"
        return "Training", "fine-tuning"
    if observed.document("probe") is not None:
        return "Probing", "choosing a schedule"
    return "Probing", "looking at the dataset and the node"


def conditions_of(
    observed: ObservedRequest, before: Sequence[Condition], phase: RequestPhase, message: str
) -> list[Condition]:
    """Accepted, Planned, and at the end Complete or Failed."""
    conditions = condition(observed, before, "Accepted", "True", "Accepted", "the request is accepted")
    if observed.document("schedule") is not None:
        conditions = condition(observed, conditions, "Planned", "True", "Scheduled", "a schedule is chosen")
    if phase == "Failed":
        reason = (observed.document("failed") or {"reason": "Diverged"})["reason"]
        return condition(observed, conditions, "Failed", "True", reason, message)
    if phase == "Succeeded":
        return condition(observed, conditions, "Complete", "True", "Succeeded", message)
    return conditions


def condition(
    observed: ObservedRequest, before: Sequence[Condition], kind: str, truth: Truth, reason: str, message: str
) -> list[Condition]:
    """``before`` with one condition set for the observed object."""
    return set_condition(before, kind, truth, reason, message, observed.object_generation, observed.now)


def statistics(observed: ObservedRequest) -> ProbeFindings | None:
    """What the probe found."""
    document = observed.document("probe")
    if document is None:
        return None
    probe = document["result"]
    measured = {k: probe[k] for k in ("startup_seconds", "loading_seconds_per_image", "step_correction")}
    return ProbeFindings.model_validate({**probe["statistics"], **measured})


def alternative(regime: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a chosen candidate and a runner-up share."""
    return {
        "model": regime["model"],
        "learning_rate": regime["learning_rate"],
        "frozen_stages": regime["frozen_stages"],
        "steps": regime["steps"],
        "predicted_accuracy": regime["predicted_accuracy"],
    }


def schedule(observed: ObservedRequest) -> ChosenSchedule | None:
    """What was chosen, and before what."""
    document = observed.document("schedule")
    if document is None:
        return None
    chosen, *others = document["regimes"]
    return ChosenSchedule(
        **alternative(chosen),
        planned_seconds=document["plannedSeconds"],
        candidates=document["candidates"],
        runners_up=tuple(Alternative(**alternative(r)) for r in others[:RUNNERS_UP_SHOWN]),
    )


def progress(observed: ObservedRequest) -> RunProgress | None:
    """Where the run is, by the pod's metrics."""
    job = latest_try(observed.jobs, "finetune")
    if job is None or observed.document("result") is not None or "nasoa_step" not in job.metrics:
        return None
    step, steps = int(job.metrics["nasoa_step"]), int(job.metrics.get("nasoa_planned_steps", 0))
    step_seconds = job.metrics.get("nasoa_step_seconds")
    left = max(0, steps - step) * step_seconds if step_seconds else None
    return RunProgress(
        step=step,
        steps=steps,
        loss=job.metrics.get("nasoa_loss"),
        eta=timestamp(observed.now + timedelta(seconds=left)) if left is not None else None,
    )


def result(observed: ObservedRequest) -> RequestResult | None:
    """What the request ended with."""
    document = observed.document("result")
    if document is None or document["result"] is None:
        return None
    found = document["result"]
    return RequestResult(
        validation_accuracy=found["validation_accuracy"],
        test_accuracy=found["test_accuracy"],
        seconds=found["seconds"],
        time_limit_seconds=seconds(observed.spec.time_limit),
        steps=found["steps"],
        step_seconds=found["step_seconds"],
        attempts=found["attempts"],
        output_uri=found["output_uri"],
    )


def versions(observed: ObservedRequest) -> PredictorVersions | None:
    """The predictor's version before and after."""
    planned, learned = observed.document("schedule"), observed.document("learned")
    if planned is None:
        return None
    return PredictorVersions(
        planned_with=planned["predictorVersion"], produced=learned["version"] if learned is not None else None
    )
