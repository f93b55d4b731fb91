"""The plan of a search: which single step follows from what is recorded. Pure.

A search is a sequence of steps, each with a document that says it is done. The plan walks along them to the first one
without its document. If the step is a decision, the plan is to write it; if it is work for pods, to create its Job; and
if that Job has finished, to record what it came to. Nothing recorded is ever decided again.
"""

from __future__ import annotations

from nasoa_operator.observed_jobs import ObservedJob, suspension_of
from nasoa_operator.plan import Event, Plan, SuspendJob
from nasoa_operator.search import publishing
from nasoa_operator.search.generations import next_of_generation
from nasoa_operator.search.levels import end_of_level, generations_of
from nasoa_operator.search.limits import limit_reached
from nasoa_operator.search.observed import ObservedSearch
from nasoa_operator.search.problems import problems_of
from nasoa_operator.search.status import status_of
from nasoa_operator.steps import unwanted, with_upkeep
from nasoa_runtime.api.base import TERMINAL
from nasoa_runtime.documents.keys import SearchPart
from nasoa_runtime.documents.search import AcceptedSearch
from nasoa_runtime.documents.steps import PRETRAIN, TABLE, parse_search_step
from nasoa_runtime.search.individuals import LEVELS


def plan(observed: ObservedSearch) -> Plan:
    """What to do now for ``observed``."""
    if observed.status.get("phase") in TERMINAL:
        return Plan(delete_jobs=unwanted(observed.jobs))
    problems = problems_of(observed)
    if problems:
        # What is waited for comes with the resync, so that any number of searches may wait.
        return Plan(status=status_of(observed, problems[0]))
    done = {step: job for step, job in observed.jobs.items() if recorded(observed, job)}
    return with_upkeep(
        next_step(observed), observed.jobs, done, status=status_of(observed), suspensions=suspensions(observed)
    )


def next_step(observed: ObservedSearch) -> Plan:
    """The first step that is not recorded yet."""
    records = observed.records
    if records.spec is None:
        owner = observed.owner
        accepted = AcceptedSearch(namespace=owner.namespace, name=owner.name, spec=observed.spec.to_manifest())
        return observed.write(SearchPart("spec"), accepted)
    if records.stop is not None or observed.spec.suspend:
        return Plan()
    reached = limit_reached(observed)
    if reached is not None:
        event = Event("LimitReached", reached.message, "limit", type="Warning")
        return observed.write(SearchPart("limit"), reached, event)
    for level in LEVELS:
        if records.end(level) is not None or records.limit is not None:
            continue
        for generation in range(generations_of(observed, level)):
            if records.evaluations(level, generation) is None:
                return next_of_generation(observed, level, generation)
        return end_of_level(observed, level)
    return publishing.next_of_publishing(observed)


def recorded(observed: ObservedSearch, job: ObservedJob) -> bool:
    """Whether what a Job came to is recorded, or is not wanted any more, so that the Job can go."""
    records, step = observed.records, parse_search_step(job.step)
    if records.stop is not None:
        return True
    if step is None:
        return False
    if step.base == PRETRAIN.base:
        return records.pretrained is not None
    if step.base == TABLE.base:
        return records.table is not None
    if step.level is None or records.limit is not None:
        return True
    if step.program == "profile":
        return records.measurements(step.level, step.generation, step.list_index) is not None
    return records.evaluations(step.level, step.generation) is not None


def suspensions(observed: ObservedSearch) -> tuple[SuspendJob, ...]:
    """Jobs whose suspension differs from the spec's."""
    return tuple(filter(None, (suspension_of(job, observed.spec.suspend) for job in observed.jobs.values())))
