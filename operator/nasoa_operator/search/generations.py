"""One generation: propose a list, measure it, until N members meet T_m; decide; evaluate; record. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nasoa_operator.events import failed
from nasoa_operator.outcomes import ObservedJob, PodOutcome, bad_input
from nasoa_operator.plan import Document, Event, Plan
from nasoa_operator.search.levels import blocks_for, phase_of, spaces_of
from nasoa_operator.search.observed import (
    LISTS_AT_MOST,
    Level,
    ObservedSearch,
    generation_part,
    individuals,
    seen,
    step_name,
)
from nasoa_operator.step_times import profiled
from nasoa_operator.steps import RETRY, common_input, dataset_of, job_for, latest_try
from nasoa_runtime.api.search import PhaseSpec
from nasoa_runtime.boundary import (
    EvaluateInput,
    EvaluateResult,
    NamedArchitecture,
    ProfileInput,
    ProfileResult,
    Recipe,
)
from nasoa_runtime.durations import seconds
from nasoa_runtime.search.proposal import propose

CANDIDATES_PER_WORKER = 4


def next_of_generation(observed: ObservedSearch, level: Level, generation: int) -> Plan:
    """The next step of a generation that is not recorded yet."""
    decision = observed.document(level, generation_part(generation), "generation")
    if decision is not None:
        return evaluate(observed, level, generation, decision)
    measured = measurements(observed, level, generation)
    lists = 0
    while (proposed := observed.document(level, generation_part(generation), f"list-{lists}")) is not None:
        if observed.document(level, generation_part(generation), f"profile-{lists}") is None:
            if not proposed["candidates"]:
                break
            return profile(observed, level, generation, lists, proposed)
        lists += 1
    phase = phase_of(observed, level)
    fitting = within_step_time(measured, phase)
    wanted = observed.spec.parallelism
    exhausted = proposed is not None
    if len(fitting) >= wanted or exhausted or lists >= LISTS_AT_MOST:
        return decide(observed, level, generation, fitting[:wanted], exhausted=exhausted)
    return propose_list(observed, level, generation, lists, wanted - len(fitting))


def measurements(observed: ObservedSearch, level: Level, generation: int) -> list[Mapping[str, Any]]:
    """All measurements of a generation's lists, in the order in which they were made."""
    found: list[Mapping[str, Any]] = []
    for index in range(LISTS_AT_MOST):
        document = observed.document(level, generation_part(generation), f"profile-{index}")
        found.extend(document["measurements"] if document else ())
    return found


def within_step_time(measured: Sequence[Mapping[str, Any]], phase: PhaseSpec) -> list[Mapping[str, Any]]:
    """The measurements that obey T_m, failed ones left out."""
    limit = seconds(phase.max_step_time) if phase.max_step_time else float("inf")
    return [m for m in measured if m["stepSeconds"] is not None and m["stepSeconds"] <= limit]


def propose_list(observed: ObservedSearch, level: Level, generation: int, index: int, missing: int) -> Plan:
    """Persist the next list of unseen candidates; an empty one says that the space is exhausted."""
    block_space, macro_space = spaces_of(observed)
    phase = phase_of(observed, level)
    proposals = propose(
        level=level,
        generation=generation,
        list_index=index,
        count=CANDIDATES_PER_WORKER * missing,
        history=individuals(observed, level),
        seen=seen(observed, level),
        block_space=block_space,
        macro_space=macro_space,
        blocks=blocks_for(observed) if level == "macro" else (),
        seed=observed.spec.seed,
        elite_size=phase.elite_size or 2 * observed.spec.parallelism,
        initial=observed.spec.macro_phase.initial_architectures if level == "macro" else (),
    )
    body = {
        "formatVersion": 1,
        "candidates": [
            {"slot": p.slot, "encoding": p.encoding, "parents": list(p.parents), "mutations": list(p.mutations)}
            for p in proposals
        ],
    }
    key = observed.key(level, generation_part(generation), f"list-{index}")
    return Plan(documents=(Document(key, body),), again=True)


def profile(observed: ObservedSearch, level: Level, generation: int, index: int, proposed: Mapping[str, Any]) -> Plan:
    """Have a list measured on the reference device, and record what was measured."""
    base = step_name(level, generation, f"profile{index}")
    job = latest_try(observed.jobs, base)
    if job is None:
        return Plan(jobs=(profile_job(observed, level, generation, index, base, proposed),))
    if not job.finished:
        return Plan()
    outcome = job.outcomes[0]
    if not isinstance(outcome.result, ProfileResult):
        if outcome.failure == "InvalidResult" and not job.step.endswith(RETRY):
            return Plan(jobs=(profile_job(observed, level, generation, index, base + RETRY, proposed),))
        if outcome.failure == "BadInput":
            return stop(observed, *bad_input(outcome))
        return stop(observed, "ProfilingFailed", f"{base}: {outcome.failure}: {outcome.message}")
    body = profile_record(job, outcome.result, [c["encoding"] for c in proposed["candidates"]])
    limit = phase_of(observed, level).max_step_time
    met = len(within_step_time(body["measurements"], phase_of(observed, level)))
    failed = sum(m["failure"] is not None for m in body["measurements"])
    message = f"{level} generation {generation + 1}: {len(body['measurements'])} step times measured, {met} within " + (
        f"{limit}, {failed} failed" if limit else f"no limit, {failed} failed"
    )
    key = observed.key(level, generation_part(generation), f"profile-{index}")
    return Plan(documents=(Document(key, body, Event("StepTimesMeasured", message, base)),), again=True)


def profile_record(job: ObservedJob, result: ProfileResult, candidates: Sequence[str]) -> dict[str, Any]:
    """The record of a list: for each candidate the first step time that was seen, and where it was seen."""
    proposed = set(candidates)
    measured = []
    for m in result.measurements:
        if m.name not in proposed:
            continue
        scraped = job.metrics.get(profiled(m.name))
        counts = m.step_seconds if m.step_seconds is None or not scraped else scraped
        measured.append(
            {
                "encoding": m.name,
                "stepSeconds": counts,
                "source": "prometheus" if scraped and m.step_seconds is not None else "termination-message",
                "difference": None if not scraped or m.step_seconds is None else scraped - m.step_seconds,
                "failure": m.failure,
                "message": m.message,
            }
        )
    return {
        "formatVersion": 1,
        "measurements": measured,
        "device": result.device.model_dump(mode="json"),
        "anchorStepSeconds": result.anchor_step_seconds,
        "seconds": result.seconds,
    }


def profile_job(
    observed: ObservedSearch,
    level: Level,
    generation: int,
    index: int,
    step: str,
    proposed: Mapping[str, Any],
) -> dict[str, Any]:
    """The parent node's Job: one pod that measures a list, one candidate after another."""
    spec, phase = observed.spec, phase_of(observed, level)
    fitting = len(within_step_time(measurements(observed, level, generation), phase))
    first = observed.document(level, generation_part(0), "profile-0")
    pod_input = ProfileInput(
        **common_input(observed, step),
        architectures=tuple(
            NamedArchitecture(name=c["encoding"], architecture=c["encoding"]) for c in proposed["candidates"]
        ),
        wanted=spec.parallelism - fitting,
        max_step_seconds=seconds(phase.max_step_time) if phase.max_step_time else None,
        batch_size=phase.batch_size,
        image_size=phase.image_size,
        classes=spec.dataset.classes,
        precision=phase.precision,
        low_resolution_stem=spec.low_resolution_stem,
        anchor=observed.settings.anchor,
        anchor_step_seconds=first["anchorStepSeconds"] if first else None,
    )
    return job_for(observed, step, pod_input, mount_dataset=False)


def decide(
    observed: ObservedSearch, level: Level, generation: int, members: Sequence[Mapping[str, Any]], *, exhausted: bool
) -> Plan:
    """Persist who the generation's members are, and whether the level ends with them."""
    short = len(members) < observed.spec.parallelism
    reason = None if not short else ("SpaceExhausted" if exhausted else "NoneWithinStepTime")
    body = {
        "formatVersion": 1,
        "members": [
            {"slot": slot, "encoding": m["encoding"], "stepSeconds": m["stepSeconds"], "source": m["source"]}
            for slot, m in enumerate(members)
        ],
        "endsLevel": reason,
        "decidedAt": observed.now.isoformat(),
    }
    message = f"{level} generation {generation + 1}: {len(members)} new architectures"
    event = Event("GenerationStarted", message, step_name(level, generation, "start"))
    key = observed.key(level, generation_part(generation), "generation")
    return Plan(documents=(Document(key, body, event),), again=True)


def evaluate(observed: ObservedSearch, level: Level, generation: int, decision: Mapping[str, Any]) -> Plan:
    """Have a generation's members trained, and record what they came to."""
    members = decision["members"]
    if not members:
        return record_evaluations(observed, level, generation, members, ())
    base = step_name(level, generation, "evaluate")
    job = observed.jobs.get(base)
    if job is None:
        return Plan(jobs=(evaluate_job(observed, level, base, [m["encoding"] for m in members]),))
    if not job.finished:
        return Plan()
    outcomes = {o.index: checked(o, members[o.index]["encoding"]) for o in job.outcomes}
    invalid = [index for index, o in outcomes.items() if o.failure == "InvalidResult"]
    if invalid:
        retry = observed.jobs.get(base + RETRY)
        if retry is None:
            again = [members[index]["encoding"] for index in invalid]
            return Plan(jobs=(evaluate_job(observed, level, base + RETRY, again),))
        if not retry.finished:
            return Plan()
        for position, index in enumerate(invalid):
            outcomes[index] = checked(retry.outcomes[position], members[index]["encoding"])
    refused = next((o for o in outcomes.values() if o.failure == "BadInput"), None)
    if refused is not None:
        return stop(observed, *bad_input(refused))
    ordered = tuple(outcomes[index] for index in range(len(members)))
    return record_evaluations(observed, level, generation, members, ordered)


def checked(outcome: PodOutcome, encoding: str) -> PodOutcome:
    """The outcome, if its result speaks of the architecture that was asked for."""
    if outcome.result is None or (
        isinstance(outcome.result, EvaluateResult) and outcome.result.architecture == encoding
    ):
        return outcome
    return PodOutcome(
        outcome.index, failure="InvalidResult", message=f"a result for another architecture than {encoding}"
    )


def record_evaluations(
    observed: ObservedSearch,
    level: Level,
    generation: int,
    members: Sequence[Mapping[str, Any]],
    outcomes: Sequence[PodOutcome],
) -> Plan:
    """Record a generation: its figures, or why there are none; a failure ranks last and never stops the search."""
    evaluations = []
    for member, outcome in zip(members, outcomes, strict=True):
        result = outcome.result if isinstance(outcome.result, EvaluateResult) else None
        evaluations.append(
            {
                "slot": member["slot"],
                "encoding": member["encoding"],
                "stepSeconds": member["stepSeconds"],
                "accuracy": result.accuracy if result else None,
                "failure": outcome.failure,
                "message": outcome.message,
                "seconds": result.seconds if result else 0.0,
            }
        )
    body = {"formatVersion": 1, "evaluations": evaluations, "recordedAt": observed.now.isoformat()}
    good = [e["accuracy"] for e in evaluations if e["accuracy"] is not None]
    message = f"{level} generation {generation + 1}: {len(good)} of {len(evaluations)} evaluated" + (
        f", best accuracy {max(good):.3f}" if good else ""
    )
    event = Event("GenerationEvaluated", message, step_name(level, generation, "end"))
    return Plan(
        documents=(Document(observed.key(level, generation_part(generation), "evaluations"), body, event),), again=True
    )


def evaluate_job(observed: ObservedSearch, level: Level, step: str, encodings: Sequence[str]) -> dict[str, Any]:
    """N worker pods, one architecture each."""
    spec, phase = observed.spec, phase_of(observed, level)
    pod_input = EvaluateInput(
        **common_input(observed, step),
        architectures=tuple(encodings),
        dataset=dataset_of(spec, spec.dataset.max_images),
        recipe=Recipe(
            epochs=phase.epochs,
            batch_size=phase.batch_size,
            image_size=phase.image_size,
            learning_rate=phase.learning_rate,
            precision=phase.precision,
            low_resolution_stem=spec.low_resolution_stem,
        ),
        time_limit_seconds=seconds(phase.evaluation_time_limit) if phase.evaluation_time_limit else None,
    )
    return job_for(observed, step, pod_input, completions=len(encodings))


def stop(observed: ObservedSearch, reason: str, message: str) -> Plan:
    """Persist that the search ends here, and why."""
    body = {"formatVersion": 1, "reason": reason, "message": message, "stoppedAt": observed.now.isoformat()}
    return Plan(documents=(Document(observed.key("stop"), body, failed(reason, message)),), again=True)
