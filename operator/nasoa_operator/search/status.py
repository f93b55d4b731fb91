"""The status of a search, computed whole from what is recorded. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from nasoa_operator import composing
from nasoa_operator.composing import condition
from nasoa_operator.observed_jobs import first_blockage
from nasoa_operator.obstacles import Obstacle
from nasoa_operator.problems import Problem
from nasoa_operator.search.levels import generations_of, level_hypervolume, phase_of, spaces_of
from nasoa_operator.search.limits import device_seconds
from nasoa_operator.search.observed import ObservedSearch
from nasoa_runtime.api.conditions import Condition, Truth
from nasoa_runtime.api.search_status import FrontMember, NASSearchStatus, PublishedZoo, SearchPhase, SpaceSize
from nasoa_runtime.api.types import timestamp
from nasoa_runtime.architecture.space import count_blocks, count_macros
from nasoa_runtime.search.front import pareto_front
from nasoa_runtime.search.individuals import LEVELS, Individual, Level

FRONT_SHOWN = 10


def compose(
    before: Mapping[str, Any],
    generation: int,
    now: datetime,
    observed: ObservedSearch | None = None,
    obstacle: Obstacle | None = None,
) -> dict[str, Any]:
    """The status of a search, whole, from the one that was read; :func:`composing.compose` says of what else."""
    known = NASSearchStatus.read(before)
    return composing.compose(known, generation, now, describe, observed, obstacle)


def status_of(observed: ObservedSearch, problem: Problem | None = None) -> dict[str, Any]:
    """The status that a plan writes; ``problem`` says why the search is not accepted."""
    obstacle = first_blockage(observed.jobs.values()) if problem is None else problem.obstacle
    return compose(observed.status, observed.object_generation, observed.now, observed, obstacle)


def describe(observed: ObservedSearch, known: NASSearchStatus) -> NASSearchStatus:
    """What the records, Jobs and metrics of a search come to."""
    level = current_level(observed)
    everybody = observed.records.individuals(level)
    good = [i for i in everybody if i.accuracy is not None]
    front = pareto_front(everybody)
    phase, message = phase_and_message(observed, level)
    total = [i for each in LEVELS for i in observed.records.individuals(each)]
    return NASSearchStatus(
        phase=phase,
        conditions=tuple(conditions_of(observed, known.conditions, phase, message)),
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
        space_size=known.space_size or size_of_space(observed),
        gpu_seconds=round(device_seconds(observed), 1),
        message=message,
    )


def size_of_space(observed: ObservedSearch) -> SpaceSize:
    """Members of the spaces in use: block structures that are valid and differ, and macro structures."""
    block_space, macro_space = spaces_of(observed)
    return SpaceSize(block=count_blocks(block_space), macro=count_macros(macro_space))


def current_level(observed: ObservedSearch) -> Level:
    """The level in work, or the last one."""
    return "block" if observed.records.end("block") is None else "macro"


def generation_in_work(observed: ObservedSearch, level: Level) -> int:
    """The first generation of ``level`` that is not recorded, from 0."""
    generation = 0
    while observed.records.evaluations(level, generation) is not None:
        generation += 1
    return generation


def phase_and_message(observed: ObservedSearch, level: Level) -> tuple[SearchPhase, str]:
    """The phase, and what the search does for people."""
    records = observed.records
    if records.stop is not None:
        return "Failed", records.stop.message
    if records.published is not None:
        early = f" (the search ended early: {records.limit.message})" if records.limit else ""
        return "Succeeded", f"zoo {observed.spec.zoo.name} has {len(records.published.models)} new models{early}"
    if observed.spec.suspend:
        return "Suspended", "suspended by spec.suspend; what is recorded stays"
    if records.table is not None:
        return "Publishing", "publishing the pretrained models to the zoo"
    if records.pretrained is not None:
        return "Pretraining", "measuring the step-time table of the pretrained models"
    if records.selection is not None:
        return "Pretraining", f"pretraining {len(records.selection.members)} models"
    generation = generation_in_work(observed, level)
    phase: SearchPhase = "BlockSearch" if level == "block" else "MacroSearch"
    if generation == generations_of(observed, level):
        return phase, f"the {level} level ends"
    what = f"{level} generation {generation + 1} of {phase_of(observed, level).generations}"
    decided = records.generation(level, generation)
    if decided is not None:
        return phase, f"{what}: evaluating {len(decided.members)} architectures"
    return phase, f"{what}: measuring step times"


def conditions_of(
    observed: ObservedSearch, before: Sequence[Condition], phase: SearchPhase, message: str
) -> list[Condition]:
    """Accepted, Progressing, and at the end Complete or Failed."""
    conditions = condition(observed, before, "Accepted", "True", "Accepted", "the search is accepted")
    if phase == "Failed":
        reason = observed.records.stop.reason if observed.records.stop else "Failed"
        conditions = condition(observed, conditions, "Progressing", "False", reason, message)
        return condition(observed, conditions, "Failed", "True", reason, message)
    if phase == "Succeeded":
        conditions = condition(observed, conditions, "Progressing", "False", "Succeeded", message)
        return condition(observed, conditions, "Complete", "True", "Succeeded", message)
    running: Truth = "False" if phase == "Suspended" else "True"
    return condition(observed, conditions, "Progressing", running, phase, message)


def front_head(front: Sequence[Individual]) -> tuple[FrontMember, ...]:
    """The most accurate members of the front."""
    shown = front[:FRONT_SHOWN]
    return tuple(
        FrontMember(architecture=i.encoding, accuracy=i.accuracy, step_seconds=i.step_seconds)
        for i in shown
        if i.accuracy is not None
    )


def published(observed: ObservedSearch) -> PublishedZoo | None:
    """What the zoo got."""
    done = observed.records.published
    if done is None:
        return None
    return PublishedZoo(name=observed.spec.zoo.name, models=len(done.models), version=done.version)


def eta(observed: ObservedSearch) -> str | None:
    """When the levels' remaining generations should be done, at the pace of those recorded."""
    spans: list[float] = []
    last: datetime | None = None
    remaining = 0
    for level in LEVELS:
        planned = generations_of(observed, level)
        for generation in range(planned):
            record = observed.records.evaluations(level, generation)
            if record is None:
                remaining += planned - generation
                break
            if last is not None:
                spans.append((record.recorded_at - last).total_seconds())
            last = record.recorded_at
    if not spans or not remaining:
        return None
    return timestamp(observed.now + timedelta(seconds=remaining * sum(spans) / len(spans)))
