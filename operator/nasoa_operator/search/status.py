"""The status of a search, computed whole from what is recorded. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from nasoa_operator.problems import Problem
from nasoa_operator.search.levels import generations_of, level_hypervolume, phase_of, spaces_of
from nasoa_operator.search.limits import device_seconds
from nasoa_operator.search.observed import LEVELS, Level, ObservedSearch, generation_part, individuals
from nasoa_runtime.api.base import TERMINAL
from nasoa_runtime.api.conditions import Condition, Truth, set_condition, shorten
from nasoa_runtime.api.search_status import FrontMember, NASSearchStatus, PublishedZoo, SearchPhase, SpaceSize
from nasoa_runtime.api.types import timestamp
from nasoa_runtime.architecture.space import count_blocks, count_macros
from nasoa_runtime.search.front import pareto_front

FRONT_SHOWN = 10


def status_of(observed: ObservedSearch, problem: Problem | None = None) -> dict[str, Any]:
    """The whole status; ``problem`` says why the object is not accepted."""
    before = NASSearchStatus.read(observed.status)
    if problem is not None:
        changes = {"observed_generation": observed.object_generation, "message": shorten(problem.message)}
        status = before.model_copy(update=changes)
        conditions = condition(observed, before.conditions, "Accepted", "False", problem.reason, problem.message)
        return status.model_copy(update={"conditions": tuple(conditions)}).to_manifest()
    level = current_level(observed)
    everybody = individuals(observed, level)
    good = [i for i in everybody if i.accuracy is not None]
    front = pareto_front(everybody)
    phase, message = phase_and_message(observed, level)
    total = [i for each in LEVELS for i in individuals(observed, each)]
    status = NASSearchStatus(
        observed_generation=observed.object_generation,
        phase=phase,
        conditions=tuple(conditions_of(observed, before.conditions, phase, message)),
        level=level,
        generation=min(generation_in_work(observed, level) + 1, generations_of(observed, level)),
        generations=phase_of(observed, level).generations,
        evaluated=len(total),
        failed=sum(i.accuracy is None for i in total),
        best_accuracy=max((i.accuracy for i in good if i.accuracy is not None), default=None),
        front_size=len(front),
        hypervolume=level_hypervolume(observed, level) if good else None,
        front=front_head(front),
        eta=eta(observed),
        zoo=published(observed),
        space_size=before.space_size or size_of_space(observed),
        start_time=before.start_time or timestamp(observed.now),
        completion_time=before.completion_time or (timestamp(observed.now) if phase in TERMINAL else None),
        gpu_seconds=round(device_seconds(observed), 1),
        message=message,
    )
    return status.to_manifest()


def size_of_space(observed: ObservedSearch) -> SpaceSize:
    """Members of the spaces in use: block structures that are valid and differ, and macro structures."""
    block_space, macro_space = spaces_of(observed)
    return SpaceSize(block=count_blocks(block_space), macro=count_macros(macro_space))


def current_level(observed: ObservedSearch) -> Level:
    """The level in work, or the last one."""
    return "block" if observed.document("block", "end") is None else "macro"


def generation_in_work(observed: ObservedSearch, level: Level) -> int:
    """The first generation of ``level`` that is not recorded, from 0."""
    generation = 0
    while observed.document(level, generation_part(generation), "evaluations") is not None:
        generation += 1
    return generation


def phase_and_message(observed: ObservedSearch, level: Level) -> tuple[SearchPhase, str]:
    """The phase, and what the search does for people."""
    stop = observed.document("stop")
    if stop is not None:
        return "Failed", stop["message"]
    done = observed.document("published")
    if done is not None:
        limit = observed.document("limit")
        early = f" (the search ended early: {limit['message']})" if limit else ""
        return "Succeeded", f"zoo {observed.spec.zoo.name} has {len(done['models'])} new models{early}"
    if observed.spec.suspend:
        return "Suspended", "suspended by spec.suspend; what is recorded stays"
    if observed.document("table") is not None:
        return "Publishing", "publishing the pretrained models to the zoo"
    if observed.document("pretrained") is not None:
        return "Pretraining", "measuring the step-time table of the pretrained models"
    selection = observed.document("selection")
    if selection is not None:
        return "Pretraining", f"pretraining {len(selection['members'])} models"
    generation = generation_in_work(observed, level)
    phase: SearchPhase = "BlockSearch" if level == "block" else "MacroSearch"
    if generation == generations_of(observed, level):
        return phase, f"the {level} level ends"
    what = f"{level} generation {generation + 1} of {phase_of(observed, level).generations}"
    decided = observed.document(level, generation_part(generation), "generation")
    if decided is not None:
        message = f"{what}: evaluating {len(decided['members'])} architectures"
    else:
        message = f"{what}: measuring step times"
    return phase, message


def conditions_of(
    observed: ObservedSearch, before: Sequence[Condition], phase: SearchPhase, message: str
) -> list[Condition]:
    """Accepted, Progressing, and at the end Complete or Failed."""
    conditions = condition(observed, before, "Accepted", "True", "Accepted", "the search is accepted")
    if phase == "Failed":
        stop = observed.document("stop") or {"reason": "Failed"}
        conditions = condition(observed, conditions, "Progressing", "False", stop["reason"], message)
        return condition(observed, conditions, "Failed", "True", stop["reason"], message)
    if phase == "Succeeded":
        conditions = condition(observed, conditions, "Progressing", "False", "Succeeded", message)
        return condition(observed, conditions, "Complete", "True", "Succeeded", message)
    running: Truth = "False" if phase == "Suspended" else "True"
    return condition(observed, conditions, "Progressing", running, phase, message)


def condition(
    observed: ObservedSearch, before: Sequence[Condition], kind: str, truth: Truth, reason: str, message: str
) -> list[Condition]:
    """``before`` with one condition set for the observed object."""
    return set_condition(before, kind, truth, reason, message, observed.object_generation, observed.now)


def front_head(front: Sequence[Any]) -> tuple[FrontMember, ...]:
    """The most accurate members of the front."""
    ordered = sorted(front, key=lambda i: -i.accuracy)[:FRONT_SHOWN]
    return tuple(
        FrontMember(architecture=i.encoding, accuracy=i.accuracy, step_seconds=i.step_seconds) for i in ordered
    )


def published(observed: ObservedSearch) -> PublishedZoo | None:
    """What the zoo got."""
    done = observed.document("published")
    if done is None:
        return None
    return PublishedZoo(name=observed.spec.zoo.name, models=len(done["models"]), version=done["version"])


def eta(observed: ObservedSearch) -> str | None:
    """When the levels' remaining generations should be done, at the pace of those recorded."""
    spans: list[float] = []
    last: datetime | None = None
    remaining = 0
    for level in LEVELS:
        planned = generations_of(observed, level)
        for generation in range(planned):
            record = observed.document(level, generation_part(generation), "evaluations")
            if record is None:
                remaining += planned - generation
                break
            recorded = datetime.fromisoformat(record["recordedAt"])
            if last is not None:
                spans.append((recorded - last).total_seconds())
            last = recorded
    if not spans or not remaining:
        return None
    return timestamp(observed.now + timedelta(seconds=remaining * sum(spans) / len(spans)))
