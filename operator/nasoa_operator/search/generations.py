"""One generation: propose a list, measure it, until N members meet T_m; decide; evaluate; record. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from nasoa_operator.plan import Event, Manifest, Plan
from nasoa_operator.pod_outcomes import PodOutcome, bad_input
from nasoa_operator.search.levels import blocks_for, phase_of, spaces_of
from nasoa_operator.search.observed import LISTS_AT_MOST, ObservedSearch
from nasoa_operator.search.profiling import measurements, profile, within_step_time
from nasoa_operator.search.stopping import stop
from nasoa_operator.steps import common_input, dataset_of, job_for
from nasoa_runtime.boundary import EvaluateInput, EvaluateResult, Recipe
from nasoa_runtime.documents.keys import SearchPart
from nasoa_runtime.documents.search import (
    EarlyEnd,
    Evaluation,
    Evaluations,
    Generation,
    MeasuredArchitecture,
    Member,
    Proposals,
    ProposedArchitecture,
)
from nasoa_runtime.documents.steps import Step, evaluate_step
from nasoa_runtime.durations import seconds
from nasoa_runtime.search.individuals import Level
from nasoa_runtime.search.proposal import propose

PROPOSALS_PER_WORKER = 4


def next_of_generation(observed: ObservedSearch, level: Level, generation: int) -> Plan:
    """The next step of a generation that is not recorded yet."""
    records = observed.records
    decision = records.generation(level, generation)
    if decision is not None:
        return evaluate(observed, level, generation, decision.members)
    lists = 0
    while (proposed := records.proposals(level, generation, lists)) is not None:
        if records.measurements(level, generation, lists) is None:
            if not proposed.proposals:
                break
            return profile(observed, level, generation, lists, proposed)
        lists += 1
    fitting = within_step_time(measurements(observed, level, generation), phase_of(observed, level))
    wanted = observed.spec.parallelism
    exhausted = proposed is not None
    if len(fitting) >= wanted or exhausted or lists >= LISTS_AT_MOST:
        return decide(observed, level, generation, fitting[:wanted], exhausted=exhausted)
    return propose_list(observed, level, generation, lists, wanted - len(fitting))


def propose_list(observed: ObservedSearch, level: Level, generation: int, index: int, missing: int) -> Plan:
    """Persist the next list of unseen architectures; an empty one says that the space is exhausted."""
    block_space, macro_space = spaces_of(observed)
    phase = phase_of(observed, level)
    proposals = propose(
        level=level,
        generation=generation,
        list_index=index,
        count=PROPOSALS_PER_WORKER * missing,
        history=observed.records.individuals(level),
        seen=observed.records.seen(level),
        block_space=block_space,
        macro_space=macro_space,
        blocks=blocks_for(observed) if level == "macro" else (),
        seed=observed.spec.seed,
        elite_size=phase.elite_size or 2 * observed.spec.parallelism,
        initial=observed.spec.macro_phase.initial_architectures if level == "macro" else (),
    )
    proposed = (
        ProposedArchitecture(slot=p.slot, encoding=p.encoding, parents=p.parents, mutations=p.mutations)
        for p in proposals
    )
    return observed.write(SearchPart("list", level, generation, index), Proposals(proposals=tuple(proposed)))


def decide(
    observed: ObservedSearch,
    level: Level,
    generation: int,
    fitting: Sequence[MeasuredArchitecture],
    *,
    exhausted: bool,
) -> Plan:
    """Persist who the generation's members are, and whether the level ends with them."""
    members = tuple(
        Member(slot=slot, encoding=m.encoding, step_seconds=m.step_seconds, source=m.source)
        for slot, m in enumerate(fitting)
        if m.step_seconds is not None
    )
    why: EarlyEnd = "SpaceExhausted" if exhausted else "NoneWithinStepTime"
    decision = Generation(
        members=members,
        ends_level=why if len(members) < observed.spec.parallelism else None,
        decided_at=observed.now,
    )
    message = f"{level} generation {generation + 1}: {len(members)} new architectures"
    event = Event("GenerationStarted", message, f"{evaluate_step(level, generation)}-start")
    return observed.write(SearchPart("generation", level, generation), decision, event)


def evaluate(observed: ObservedSearch, level: Level, generation: int, members: Sequence[Member]) -> Plan:
    """Have a generation's members trained, and record what they came to."""
    if not members:
        return record_evaluations(observed, level, generation, members, ())
    step = evaluate_step(level, generation)
    job = observed.jobs.get(str(step))
    if job is None:
        return Plan(jobs=(evaluate_job(observed, step, [m.encoding for m in members]),))
    if not job.finished:
        return Plan()
    outcomes = {o.index: checked(o, members[o.index].encoding) for o in job.outcomes}
    invalid = [index for index, o in outcomes.items() if o.failure == "InvalidResult"]
    if invalid:
        retry = observed.jobs.get(str(step.again()))
        if retry is None:
            again = [members[index].encoding for index in invalid]
            return Plan(jobs=(evaluate_job(observed, step.again(), again),))
        if not retry.finished:
            return Plan()
        for position, index in enumerate(invalid):
            outcomes[index] = checked(retry.outcomes[position], members[index].encoding)
    bad = next((o for o in outcomes.values() if o.failure == "BadInput"), None)
    if bad is not None:
        return stop(observed, *bad_input(bad))
    return record_evaluations(observed, level, generation, members, [outcomes[i] for i in range(len(members))])


def checked(outcome: PodOutcome, encoding: str) -> PodOutcome:
    """The outcome, if its result speaks of the architecture that was asked for."""
    if outcome.result is None or (
        isinstance(outcome.result, EvaluateResult) and outcome.result.architecture == encoding
    ):
        return outcome
    text = f"a result for another architecture than {encoding}"
    return PodOutcome(outcome.index, failure="InvalidResult", message=text)


def record_evaluations(
    observed: ObservedSearch,
    level: Level,
    generation: int,
    members: Sequence[Member],
    outcomes: Sequence[PodOutcome],
) -> Plan:
    """Record a generation: its figures, or why there are none; a failure ranks last and never stops the search."""
    evaluations = tuple(evaluation_of(member, outcome) for member, outcome in zip(members, outcomes, strict=True))
    good = [e.accuracy for e in evaluations if e.accuracy is not None]
    message = f"{level} generation {generation + 1}: {len(good)} of {len(evaluations)} evaluated" + (
        f", best accuracy {max(good):.3f}" if good else ""
    )
    event = Event("GenerationEvaluated", message, f"{evaluate_step(level, generation)}-end")
    record = Evaluations(evaluations=evaluations, recorded_at=observed.now)
    return observed.write(SearchPart("evaluations", level, generation), record, event)


def evaluation_of(member: Member, outcome: PodOutcome) -> Evaluation:
    """What a member came to."""
    result = outcome.result if isinstance(outcome.result, EvaluateResult) else None
    return Evaluation(
        slot=member.slot,
        encoding=member.encoding,
        step_seconds=member.step_seconds,
        accuracy=result.accuracy if result else None,
        failure=outcome.failure,
        message=outcome.message,
        seconds=result.seconds if result else 0.0,
    )


def evaluate_job(observed: ObservedSearch, step: Step, encodings: Sequence[str]) -> Manifest:
    """N worker pods, one architecture each."""
    spec, phase = observed.spec, phase_of(observed, step.level or "block")
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
