"""The status of a request, computed whole from what is recorded. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from nasoa_operator import composing
from nasoa_operator.composing import condition
from nasoa_operator.finetune.observed import ObservedRequest
from nasoa_operator.observed_jobs import ObservedJob, first_blockage
from nasoa_operator.obstacles import Obstacle
from nasoa_operator.problems import Problem
from nasoa_operator.steps import latest_try
from nasoa_runtime.api.conditions import Condition
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
from nasoa_runtime.boundary import Regime
from nasoa_runtime.documents.steps import FINETUNE
from nasoa_runtime.durations import seconds
from nasoa_runtime.online.strategies import STRATEGIES

RUNNERS_UP_SHOWN = 5


def compose(
    before: Mapping[str, Any],
    generation: int,
    now: datetime,
    observed: ObservedRequest | None = None,
    obstacle: Obstacle | None = None,
) -> dict[str, Any]:
    """The status of a request, whole, from the one that was read; :func:`composing.compose` says of what else."""
    known = FineTuneRequestStatus.read(before)
    return composing.compose(known, generation, now, describe, observed, obstacle)


def status_of(observed: ObservedRequest, problem: Problem | None = None) -> dict[str, Any]:
    """The status that a plan writes; ``problem`` says why the request is not accepted."""
    obstacle = first_blockage(observed.jobs.values()) if problem is None else problem.obstacle
    return compose(observed.status, observed.object_generation, observed.now, observed, obstacle)


def describe(observed: ObservedRequest, known: FineTuneRequestStatus) -> FineTuneRequestStatus:
    """What the records, Jobs and metrics of a request come to."""
    phase, message = phase_and_message(observed)
    return FineTuneRequestStatus(
        phase=phase,
        conditions=tuple(conditions_of(observed, known.conditions, phase, message)),
        statistics=statistics(observed),
        schedule=schedule(observed),
        progress=progress(observed),
        result=result(observed),
        predictor=versions(observed),
        message=message,
    )


def phase_and_message(observed: ObservedRequest) -> tuple[RequestPhase, str]:
    """The phase, and what the request does for people."""
    records = observed.records
    if records.failed is not None:
        return "Failed", records.failed.message
    if records.result is not None:
        if records.learned is None:
            return "Learning", "the predictor learns from the outcome"
        if records.result.result is None:
            return "Failed", records.result.failure or "training diverged"
        return "Succeeded", f"the model is at {records.result.result.output_uri}"
    job = latest_try(observed.jobs, FINETUNE)
    if records.schedule is not None:
        if observed.spec.suspend:
            return "Planned", "planned; spec.suspend keeps it from running"
        if job is None or not (job.active or job.finished):
            return "Training", "waiting for the fine-tuning pod"
        return "Training", training_message(job)
    if records.probe is not None:
        return "Probing", "choosing a schedule"
    return "Probing", "looking at the dataset and the node"


def conditions_of(
    observed: ObservedRequest, before: Sequence[Condition], phase: RequestPhase, message: str
) -> list[Condition]:
    """Accepted, Planned, and at the end Complete or Failed."""
    conditions = condition(observed, before, "Accepted", "True", "Accepted", "the request is accepted")
    if observed.records.schedule is not None:
        conditions = condition(observed, conditions, "Planned", "True", "Scheduled", "a schedule is chosen")
    if phase == "Failed":
        reason = observed.records.failed.reason if observed.records.failed else "Diverged"
        return condition(observed, conditions, "Failed", "True", reason, message)
    if phase == "Succeeded":
        return condition(observed, conditions, "Complete", "True", "Succeeded", message)
    return conditions


def statistics(observed: ObservedRequest) -> ProbeFindings | None:
    """What the probe found."""
    if observed.records.probe is None:
        return None
    probe = observed.records.probe.result
    measured = probe.model_dump(include={"startup_seconds", "loading_seconds_per_image", "step_correction"})
    return ProbeFindings.model_validate({**probe.statistics.model_dump(), **measured})


def alternative(regime: Regime) -> dict[str, Any]:
    """The fields that a chosen candidate and a runner-up share."""
    return regime.model_dump(include=set(Alternative.model_fields)) | {"options": regime.options or None}


def schedule(observed: ObservedRequest) -> ChosenSchedule | None:
    """What was chosen, and before what."""
    document = observed.records.schedule
    if document is None:
        return None
    chosen, *others = document.regimes
    return ChosenSchedule(
        **alternative(chosen),
        planned_seconds=document.planned_seconds,
        candidates=document.candidates,
        runners_up=tuple(Alternative(**alternative(r)) for r in others[:RUNNERS_UP_SHOWN]),
    )


def training_message(job: ObservedJob) -> str:
    """What the fine-tuning pod does."""
    rung, running = race_of(job)
    return f"{running} candidates race, in rung {rung}" if running is not None and running > 1 else "fine-tuning"


def race_of(job: ObservedJob) -> tuple[int | None, int | None]:
    """The rung of a job's race, and how many may still win it, by the pod's metrics; ``None`` without a race."""
    rung, running = (int(job.metrics.get(f"nasoa_race_{name}", 0)) or None for name in ("rung", "running"))
    return rung, running


def progress(observed: ObservedRequest) -> RunProgress | None:
    """Where the run is, by the pod's metrics."""
    job = latest_try(observed.jobs, FINETUNE)
    if job is None or observed.records.result is not None or "nasoa_step" not in job.metrics:
        return None
    step, steps = int(job.metrics["nasoa_step"]), int(job.metrics.get("nasoa_planned_steps", 0))
    step_seconds = job.metrics.get("nasoa_step_seconds")
    rung, running = race_of(job)
    decided = running is None or running == 1
    left = max(0, steps - step) * step_seconds if step_seconds and decided else None
    return RunProgress(
        step=step,
        steps=steps,
        loss=job.metrics.get("nasoa_loss"),
        eta=timestamp(observed.now + timedelta(seconds=left)) if left is not None else None,
        rung=rung,
        running=running,
    )


def result(observed: ObservedRequest) -> RequestResult | None:
    """What the request ended with."""
    found = observed.records.result.result if observed.records.result else None
    if found is None:
        return None
    return RequestResult(
        validation_accuracy=found.validation_accuracy,
        test_accuracy=found.test_accuracy,
        seconds=found.seconds,
        time_limit_seconds=seconds(observed.spec.time_limit),
        steps=found.steps,
        step_seconds=found.step_seconds,
        delivered=Alternative(**alternative(found.runs[found.chosen].regime)),
        strategy=found.strategy if found.strategy in STRATEGIES else None,
        runs=len(found.runs),
        attempts=found.attempts,
        output_uri=found.output_uri,
    )


def versions(observed: ObservedRequest) -> PredictorVersions | None:
    """The predictor's version before and after."""
    planned, learned = observed.records.schedule, observed.records.learned
    if planned is None:
        return None
    produced = learned.version if learned is not None else None
    return PredictorVersions(planned_with=planned.predictor_version, produced=produced)
