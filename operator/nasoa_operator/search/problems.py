"""What admission can't see of a search: problems for which it is not accepted. Pure."""

from __future__ import annotations

from nasoa_operator.accept import search_problems
from nasoa_operator.problems import Problem, output_problems
from nasoa_operator.search.observed import ObservedSearch


def problems_of(observed: ObservedSearch) -> list[Problem]:
    """All problems, one for each reason, the gravest first."""
    if observed.spec.resume_from is not None:
        resumed = resume_problem(observed, observed.spec.resume_from)
        if resumed is not None:
            return [resumed]
    elif observed.records.spec is not None:
        return []  # It was accepted, and what was accepted can't be edited.
    problems = search_problems(observed.spec)
    problems += output_problems(observed.spec.output_uri, observed.settings.system_bucket)
    enrolled = observed.settings.search_namespaces
    if enrolled and observed.owner.namespace not in enrolled:
        message = (
            f"namespace {observed.owner.namespace} may not publish to a zoo; an administrator can add it to the "
            "operator's search namespaces"
        )
        problems.append(Problem("NamespaceNotEnrolled", message))
    if observed.zoo_owner is not None and observed.zoo_owner != observed.uid:
        message = (
            f"spec.zoo.name: zoo {observed.spec.zoo.name} belongs to {observed.zoo_owner}; choose another name, or "
            "continue that search with spec.resumeFrom"
        )
        problems.append(Problem("ZooBelongsToAnother", message))
    return by_reason(problems)


def by_reason(problems: list[Problem]) -> list[Problem]:
    """Problems of one reason in one: a spec can't be edited, so whoever writes it anew must know them all."""
    messages: dict[str, list[str]] = {}
    for problem in problems:
        messages.setdefault(problem.reason, []).append(problem.message)
    return [Problem(reason, "; ".join(found)) for reason, found in messages.items()]


def resume_problem(observed: ObservedSearch, uid: str) -> Problem | None:
    """Why the records of search ``uid`` may not be taken over: they must exist, and be of the same namespace."""
    record = observed.records.spec
    if record is not None and record.namespace == observed.owner.namespace:
        return None
    # Whether another namespace has such records is nobody's business.
    message = (
        f"spec.resumeFrom: namespace {observed.owner.namespace} has no records of a search {uid}; write the UID of an "
        "earlier NASSearch of this namespace, or leave resumeFrom out"
    )
    return Problem("NothingToResume", message)
