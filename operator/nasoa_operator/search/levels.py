"""The two levels of a search: their spaces, how many generations they have, and how they end. Pure."""

from __future__ import annotations

from nasoa_operator.plan import Event, Plan
from nasoa_operator.search.observed import ObservedSearch
from nasoa_runtime.api.search import PhaseSpec
from nasoa_runtime.architecture.block_space import REFERENCE_CHANNELS
from nasoa_runtime.architecture.encoding import format_block, parse
from nasoa_runtime.architecture.space import BlockSpace, MacroSpace
from nasoa_runtime.architecture.wiring import is_valid_block
from nasoa_runtime.documents.keys import SearchPart
from nasoa_runtime.documents.search import EndReason, LevelEnd
from nasoa_runtime.durations import seconds
from nasoa_runtime.search.front import hypervolume, largest_contribution, pareto_front
from nasoa_runtime.search.individuals import Level


def phase_of(observed: ObservedSearch, level: Level) -> PhaseSpec:
    """The part of the spec that rules ``level``."""
    return observed.spec.block_phase if level == "block" else observed.spec.macro_phase


def spaces_of(observed: ObservedSearch) -> tuple[BlockSpace, MacroSpace]:
    """The block space and the macro space of the spec."""
    return observed.spec.block_space(), observed.spec.macro_space()


def generations_of(observed: ObservedSearch, level: Level) -> int:
    """Generations that ``level`` has: those of the spec, or fewer where it ended early.

    It ends early when a generation found no N members, or when the budget of evaluations is used up.
    """
    planned = phase_of(observed, level).generations
    budget = observed.spec.limits.max_evaluations
    evaluated = 0 if level == "block" else len(observed.records.individuals("block"))
    for generation in range(planned):
        decision = observed.records.generation(level, generation)
        if decision is None:
            spent = budget is not None and evaluated >= budget
            return generation if spent else planned
        evaluated += len(decision.members)
        if decision.ends_level is not None:
            return generation + 1
    return planned


def blocks_for(observed: ObservedSearch) -> tuple[str, ...]:
    """The blocks of which the macro level builds: the block front's best, then those that the spec gives."""
    end = observed.records.end("block")
    found = end.blocks if end else ()
    given = tuple(b for b in observed.spec.macro_phase.candidate_blocks if b not in found)
    return found + given


def end_of_level(observed: ObservedSearch, level: Level) -> Plan:
    """Record how a level ends: why, with what front, and with which blocks for the next level."""
    everybody = observed.records.individuals(level)
    front = pareto_front(everybody)
    end = LevelEnd(
        reason=end_reason(observed, level),
        evaluated=len(everybody),
        hypervolume=level_hypervolume(observed, level),
        front=tuple(i.encoding for i in front),
        blocks=best_blocks(observed) if level == "block" else (),
        ended_at=observed.now,
    )
    message = f"{level} level ended ({end.reason}): {len(everybody)} evaluated, {len(front)} on the front"
    return observed.write(SearchPart("end", level), end, Event("LevelEnded", message, f"{level}-end"))


def end_reason(observed: ObservedSearch, level: Level) -> EndReason:
    """Why a level has ended."""
    count = generations_of(observed, level)
    last = observed.records.generation(level, count - 1) if count else None
    if last is not None and last.ends_level is not None:
        return last.ends_level
    return "Completed" if count == phase_of(observed, level).generations else "EvaluationsSpent"


def level_hypervolume(observed: ObservedSearch, level: Level) -> float:
    """Hypervolume of a level's front, against T_m where there is one."""
    limit = phase_of(observed, level).max_step_time
    return hypervolume(observed.records.individuals(level), seconds(limit) if limit else None)


def best_blocks(observed: ObservedSearch) -> tuple[str, ...]:
    """The B blocks with the largest hypervolume contribution that are valid at every multiplier."""
    candidates = [i for i in observed.records.individuals("block") if i.accuracy is not None and usable(i.encoding)]
    limit = observed.spec.block_phase.max_step_time
    best = largest_contribution(candidates, observed.spec.macro_phase.blocks, seconds(limit) if limit else None)
    return tuple(dict.fromkeys(format_block(parse(i.encoding).block) for i in best))


def usable(encoding: str) -> bool:
    """Whether the block of ``encoding`` is valid at multipliers 1, 2 and 4."""
    return is_valid_block(parse(encoding).block, REFERENCE_CHANNELS)
