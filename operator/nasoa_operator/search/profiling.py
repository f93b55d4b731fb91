"""Step times before anything is trained: one pod measures a list of proposals on the reference device. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from nasoa_operator.observed_jobs import ObservedJob
from nasoa_operator.plan import Event, Manifest, Plan
from nasoa_operator.pod_outcomes import bad_input
from nasoa_operator.search.levels import phase_of
from nasoa_operator.search.observed import LISTS_AT_MOST, ObservedSearch
from nasoa_operator.search.stopping import stop
from nasoa_operator.step_times import profiled
from nasoa_operator.steps import common_input, job_for, latest_try
from nasoa_runtime.api.search import PhaseSpec
from nasoa_runtime.boundary import Measurement, NamedArchitecture, ProfileInput, ProfileResult
from nasoa_runtime.documents.keys import SearchPart
from nasoa_runtime.documents.search import MeasuredArchitecture, Measurements, Proposals
from nasoa_runtime.documents.steps import Step, profile_step
from nasoa_runtime.durations import seconds
from nasoa_runtime.search.individuals import Level


def measurements(observed: ObservedSearch, level: Level, generation: int) -> list[MeasuredArchitecture]:
    """All measurements of a generation's lists, in the order in which they were made."""
    found: list[MeasuredArchitecture] = []
    for index in range(LISTS_AT_MOST):
        record = observed.records.measurements(level, generation, index)
        found.extend(record.measurements if record else ())
    return found


def within_step_time(measured: Sequence[MeasuredArchitecture], phase: PhaseSpec) -> list[MeasuredArchitecture]:
    """The measurements that obey T_m, failed ones left out."""
    limit = seconds(phase.max_step_time) if phase.max_step_time else float("inf")
    return [m for m in measured if m.step_seconds is not None and m.step_seconds <= limit]


def profile(observed: ObservedSearch, level: Level, generation: int, index: int, proposed: Proposals) -> Plan:
    """Have a list measured on the reference device, and record what was measured."""
    step = profile_step(level, generation, index)
    found = measured_by_pod(observed, step, partial(profile_job, observed, level, proposed=proposed))
    if isinstance(found, Plan):
        return found
    job, result = found
    record = profile_record(job, result, proposed)
    limit = phase_of(observed, level).max_step_time
    met = len(within_step_time(record.measurements, phase_of(observed, level)))
    failed = sum(m.failure is not None for m in record.measurements)
    message = f"{level} generation {generation + 1}: {len(record.measurements)} step times measured, {met} within " + (
        f"{limit}, {failed} failed" if limit else f"no limit, {failed} failed"
    )
    event = Event("StepTimesMeasured", message, str(step))
    return observed.write(SearchPart("profile", level, generation, index), record, event)


def measured_by_pod(
    observed: ObservedSearch, step: Step, job_of: Callable[[Step], Manifest]
) -> tuple[ObservedJob, ProfileResult] | Plan:
    """The Job of a profiling step and what its pod has measured; before that, the plan that leads there.

    An invalid result is asked for once more. Any other failure stops the search, as nothing can follow without the
    figures.

    Args:
        observed: the search.
        step: the step's first try.
        job_of: the Job of either try.
    """
    job = latest_try(observed.jobs, step)
    if job is None:
        return Plan(jobs=(job_of(step),))
    if not job.finished:
        return Plan()
    outcome = job.outcomes[0]
    if isinstance(outcome.result, ProfileResult):
        return job, outcome.result
    if outcome.failure == "InvalidResult" and job.step == str(step):
        return Plan(jobs=(job_of(step.again()),))
    if outcome.failure == "BadInput":
        return stop(observed, *bad_input(outcome))
    return stop(observed, "ProfilingFailed", f"{step}: {outcome.failure}: {outcome.explanation}")


def profile_record(job: ObservedJob, result: ProfileResult, proposed: Proposals) -> Measurements:
    """The record of a list: for each proposal the first step time that was seen, and where it was seen."""
    encodings = {p.encoding for p in proposed.proposals}
    return Measurements(
        measurements=tuple(
            first_seen(m, job.metrics.get(profiled(m.name))) for m in result.measurements if m.name in encodings
        ),
        device=result.device,
        anchor_step_seconds=result.anchor_step_seconds,
        seconds=result.seconds,
    )


def first_seen(reported: Measurement, scraped: float | None) -> MeasuredArchitecture:
    """The step time that counts: the scraped one where there is one, as it was there before the pod's end."""
    known = reported.step_seconds
    seen = scraped if scraped and known is not None else None
    return MeasuredArchitecture(
        encoding=reported.name,
        step_seconds=known if seen is None else seen,
        source="termination-message" if seen is None else "prometheus",
        difference_seconds=None if seen is None or known is None else seen - known,
        failure=reported.failure,
        message=reported.message,
    )


def profile_job(observed: ObservedSearch, level: Level, step: Step, proposed: Proposals) -> Manifest:
    """The parent node's Job: one pod that measures a list, one architecture after another."""
    spec, phase = observed.spec, phase_of(observed, level)
    fitting = len(within_step_time(measurements(observed, level, step.generation), phase))
    first = observed.records.measurements(level, 0, 0)
    pod_input = ProfileInput(
        **common_input(observed, step),
        architectures=tuple(NamedArchitecture(name=p.encoding, architecture=p.encoding) for p in proposed.proposals),
        wanted=spec.parallelism - fitting,
        max_step_seconds=seconds(phase.max_step_time) if phase.max_step_time else None,
        batch_size=phase.batch_size,
        image_size=phase.image_size,
        classes=spec.dataset.classes,
        precision=phase.precision,
        low_resolution_stem=spec.low_resolution_stem,
        anchor=observed.settings.anchor,
        anchor_step_seconds=first.anchor_step_seconds if first else None,
    )
    return job_for(observed, step, pod_input, mount_dataset=False)
