"""The plan of a search: which single step follows from what is recorded. Pure.

A search is a sequence of steps, each with a document that says it is done. The plan walks along them to the first one
without its document. If the step is a decision, the plan is to write it; if it is work for pods, to create its Job; and
if that Job has finished, to record what it came to. Nothing recorded is ever decided again.
"""

from __future__ import annotations

from nasoa_operator.outcomes import ObservedJob, suspension_of
from nasoa_operator.plan import Document, Event, Plan, SuspendJob
from nasoa_operator.search import publishing
from nasoa_operator.search.generations import next_of_generation
from nasoa_operator.search.levels import end_of_level, generations_of
from nasoa_operator.search.limits import limit_reached
from nasoa_operator.search.observed import LEVELS, ObservedSearch, generation_part
from nasoa_operator.search.problems import problems_of
from nasoa_operator.search.status import status_of
from nasoa_operator.steps import RETRY, unwanted, with_upkeep
from nasoa_runtime.api.base import TERMINAL


def plan(observed: ObservedSearch) -> Plan:
    """What to do now for ``observed``."""
    if observed.status.get("phase") in TERMINAL:
        return Plan(delete_jobs=unwanted(observed.jobs))
    problems = problems_of(observed)
    if problems:
        # What is waited for comes with the resync, so that any number of searches may wait.
        return Plan(status=status_of(observed, problem=problems[0]))
    done = {step: job for step, job in observed.jobs.items() if recorded(observed, job)}
    return with_upkeep(
        next_step(observed), observed.jobs, done, status=status_of(observed), suspensions=suspensions(observed)
    )


def next_step(observed: ObservedSearch) -> Plan:
    """The first step that is not recorded yet."""
    if observed.document("spec") is None:
        body = {
            "formatVersion": 1,
            "namespace": observed.owner.namespace,
            "name": observed.owner.name,
            "spec": observed.spec.to_manifest(),
        }
        return Plan(documents=(Document(observed.key("spec"), body),), again=True)
    if observed.document("stop") is not None:
        return Plan()
    if observed.spec.suspend:
        return Plan()
    reached = limit_reached(observed)
    if reached is not None:
        event = Event("LimitReached", reached["message"], "limit", type="Warning")
        return Plan(documents=(Document(observed.key("limit"), reached, event),), again=True)
    for level in LEVELS:
        if observed.document(level, "end") is not None or observed.document("limit") is not None:
            continue
        for generation in range(generations_of(observed, level)):
            if observed.document(level, generation_part(generation), "evaluations") is None:
                return next_of_generation(observed, level, generation)
        return Plan(documents=(end_of_level(observed, level),), again=True)
    return publishing.next_of_publishing(observed)


def recorded(observed: ObservedSearch, job: ObservedJob) -> bool:
    """Whether what a Job came to is recorded, or is not wanted any more, so that the Job can go."""
    if observed.document("stop") is not None:
        return True
    parts = job.step.removesuffix(RETRY).split("-")
    if parts[0] in LEVELS:
        if observed.document("limit") is not None:
            return True
        level, generation, what = parts[0], parts[1], parts[2]
        if what.startswith("profile"):
            return observed.document(level, generation, f"profile-{what.removeprefix('profile')}") is not None
        return observed.document(level, generation, "evaluations") is not None
    return observed.document({"pretrain": "pretrained", "table": "table"}.get(parts[0], parts[0])) is not None


def suspensions(observed: ObservedSearch) -> tuple[SuspendJob, ...]:
    """Jobs whose suspension differs from the spec's."""
    return tuple(filter(None, (suspension_of(job, observed.spec.suspend) for job in observed.jobs.values())))
