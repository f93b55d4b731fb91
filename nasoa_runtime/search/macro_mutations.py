"""Mutations of the macro structure. Each lists all children that it could make; drawing one is left to the caller.

All children are members of the space that differ from the parent, with channel numbers checked in the whole network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from nasoa_runtime.architecture.encoding import canonical_architecture, parse_block
from nasoa_runtime.architecture.macro_space import MacroSpace, contains_macro
from nasoa_runtime.architecture.structure import STAGES, Architecture, Macro


def children(parent: Architecture, candidates: Iterable[Architecture], space: MacroSpace) -> list[Architecture]:
    """Those of the candidates that are valid, in the space, and new; each once."""
    canonical_parent = canonical_architecture(parent)
    distinct = dict.fromkeys(map(canonical_architecture, candidates))
    return [child for child in distinct if child != canonical_parent and contains_macro(space, child)]


def changed_blocks(parent: Architecture, space: MacroSpace) -> Iterator[Architecture]:
    """Another block structure of those that the space has to choose from, in all places."""
    for text in space.blocks:
        yield replace(parent, block=parse_block(text))


def changed_first_channels(parent: Architecture, space: MacroSpace) -> Iterator[Architecture]:
    """Another first channel; all widths follow."""
    for first_channels in space.first_channels:
        yield replace(parent, first_channels=first_channels)


def added_blocks(parent: Architecture, space: MacroSpace) -> Iterator[Architecture]:
    """One block more that keeps the channels, anywhere in a stage."""
    for stage, multipliers in enumerate(parent.macro.stages):
        for place in range(len(multipliers) + 1):
            yield _with_stage(parent, stage, (*multipliers[:place], 1, *multipliers[place:]))


def removed_blocks(parent: Architecture, space: MacroSpace) -> Iterator[Architecture]:
    """One block less, of those that keep the channels."""
    for stage, multipliers in enumerate(parent.macro.stages):
        for place, multiplier in enumerate(multipliers):
            if multiplier == 1 and len(multipliers) > 1:
                yield _with_stage(parent, stage, (*multipliers[:place], *multipliers[place + 1 :]))


def _with_stage(parent: Architecture, stage: int, multipliers: tuple[int, ...]) -> Architecture:
    stages = parent.macro.stages
    return replace(parent, macro=Macro((*stages[:stage], multipliers, *stages[stage + 1 :])))


def moved_downsamplings(parent: Architecture, space: MacroSpace) -> Iterator[Architecture]:
    """One downsampling comes at an earlier or later block; the blocks and their channels stay as they are."""
    stages = parent.macro.stages
    for boundary in range(1, STAGES):
        both = stages[boundary - 1] + stages[boundary]
        for cut in range(1, len(both)):
            yield replace(
                parent, macro=Macro((*stages[: boundary - 1], both[:cut], both[cut:], *stages[boundary + 1 :]))
            )


def moved_channel_raises(parent: Architecture, space: MacroSpace) -> Iterator[Architecture]:
    """One channel raise comes at another block, which kept the channels before."""
    multipliers = parent.macro.multipliers
    for source, raised in enumerate(multipliers):
        for target, other in enumerate(multipliers):
            if raised > 1 and other == 1:
                moved = list(multipliers)
                moved[source], moved[target] = 1, raised
                yield _with_multipliers(parent, moved)


def changed_channel_raises(parent: Architecture, space: MacroSpace) -> Iterator[Architecture]:
    """One block raises the channels by more or by less, or begins or ceases to raise them."""
    multipliers = parent.macro.multipliers
    for place in range(len(multipliers)):
        for multiplier in (1, *space.multipliers):
            yield _with_multipliers(parent, [*multipliers[:place], multiplier, *multipliers[place + 1 :]])


def _with_multipliers(parent: Architecture, multipliers: list[int]) -> Architecture:
    """The same depths with other multipliers."""
    rest = iter(multipliers)
    return replace(parent, macro=Macro(tuple(tuple(next(rest) for _ in stage) for stage in parent.macro.stages)))
