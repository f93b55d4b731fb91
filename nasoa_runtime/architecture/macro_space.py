"""The space of macro structures: first channel, depth of each stage, and where channels are raised.

Members are numbered, which makes the size exact and a uniform draw cheap however large the space is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product
from math import comb, prod
from typing import TYPE_CHECKING

from nasoa_runtime.architecture.block_space import ATTEMPTS, EmptySpace
from nasoa_runtime.architecture.encoding import canonical_block, format_block, parse_block
from nasoa_runtime.architecture.structure import (
    MAX_FIRST_CHANNELS,
    MULTIPLIERS,
    STAGES,
    Architecture,
    Block,
    InvalidArchitecture,
    Macro,
)
from nasoa_runtime.architecture.wiring import check_channels

if TYPE_CHECKING:
    from numpy.random import Generator


@dataclass(frozen=True)
class MacroSpace:
    """Bounds of the macro structures that a search may propose.

    The defaults make 1.6 x 10^7 structures, the size that the paper gives for its space; ET-NAS A, B, D and E are
    members.
    """

    first_channels: tuple[int, ...] = (16, 32, 48, 64)
    min_blocks: int = STAGES
    """In all four stages together; each has at least one."""
    max_blocks: int = 16
    max_stage_blocks: int = 8
    multipliers: tuple[int, ...] = (2, 4)
    """What a channel raise may multiply by."""
    min_widening: int = 8
    """Channels at the end over the first channel, i.e. the product of all multipliers, at least."""
    max_widening: int = 16
    blocks: tuple[str, ...] = ()
    """Block structures to choose from; empty keeps the block that an architecture has."""

    def __post_init__(self) -> None:
        for name in ("first_channels", "multipliers"):
            object.__setattr__(self, name, tuple(sorted(set(getattr(self, name)))))
        blocks = (format_block(canonical_block(parse_block(text))) for text in self.blocks)
        object.__setattr__(self, "blocks", tuple(dict.fromkeys(blocks)))
        if not self.first_channels or any(c % 2 or not 2 <= c <= MAX_FIRST_CHANNELS for c in self.first_channels):
            raise ValueError(
                f"first_channels {list(self.first_channels)}: write even numbers of 2 to {MAX_FIRST_CHANNELS}"
            )
        if not set(self.multipliers) <= set(MULTIPLIERS) - {1}:
            raise ValueError(f"multipliers {list(self.multipliers)}: write 2, 4 or both")
        if self.max_stage_blocks < 1 or not 0 <= self.min_blocks <= self.max_blocks:
            raise ValueError(
                f"blocks {self.min_blocks} to {self.max_blocks}, {self.max_stage_blocks} a stage: write at least 1 a "
                "stage, and no more for min_blocks than for max_blocks"
            )
        if not 0 <= self.min_widening <= self.max_widening:
            raise ValueError(
                f"widening {self.min_widening} to {self.max_widening}: write no more for min_widening than for "
                "max_widening"
            )


def contains_macro(space: MacroSpace, architecture: Architecture) -> bool:
    """Whether first channel, depths and raises are within the bounds, and the block among those to choose from."""
    stages, multipliers = architecture.macro.stages, architecture.macro.multipliers
    return (
        architecture.first_channels in space.first_channels
        and len(stages) == STAGES
        and all(1 <= len(stage) <= space.max_stage_blocks for stage in stages)
        and space.min_blocks <= architecture.macro.depth <= space.max_blocks
        and set(multipliers) <= {1, *space.multipliers}
        and space.min_widening <= prod(multipliers) <= space.max_widening
        and (not space.blocks or format_block(canonical_block(architecture.block)) in space.blocks)
        and _is_valid(architecture)
    )


def _is_valid(architecture: Architecture) -> bool:
    try:
        check_channels(architecture)
    except InvalidArchitecture:
        return False
    return True


@cache
def _depth_splits(blocks: int, stages: int, at_most: int) -> int:
    """In how many ways so many blocks can be split over stages of one to ``at_most``."""
    if stages == 0:
        return int(blocks == 0)
    return sum(_depth_splits(blocks - k, stages - 1, at_most) for k in range(1, min(at_most, blocks) + 1))


@cache
def _arrangements(counts: tuple[int, ...]) -> int:
    """In how many orders so many of each kind can stand."""
    ways, places = 1, sum(counts)
    for count in counts:
        ways *= comb(places, count)
        places -= count
    return ways


@lru_cache
def _classes(space: MacroSpace) -> tuple[tuple[int, tuple[int, ...], int], ...]:
    """Depths and how many blocks have each multiplier (1, then those of the space), with the number of members.

    The first channel multiplies all of them alike and is left out.
    """
    found = []
    for depth in range(max(space.min_blocks, STAGES), min(space.max_blocks, STAGES * space.max_stage_blocks) + 1):
        splits = _depth_splits(depth, STAGES, space.max_stage_blocks)
        raises_at_most = min(depth, space.max_widening.bit_length())
        for raises in product(range(raises_at_most + 1), repeat=len(space.multipliers)):
            widening = prod(m**r for m, r in zip(space.multipliers, raises, strict=True))
            if sum(raises) <= depth and space.min_widening <= widening <= space.max_widening:
                counts = (depth - sum(raises), *raises)
                found.append((depth, counts, splits * _arrangements(counts)))
    return tuple(found)


def count_macros(space: MacroSpace) -> int:
    """Number of macro structures within the bounds, exactly; the choice of blocks isn't counted in."""
    return len(space.first_channels) * sum(members for _, _, members in _classes(space))


def macro_at(space: MacroSpace, number: int) -> tuple[int, Macro]:
    """First channel and macro structure of one number of 0 to ``count_macros(space) - 1``."""
    number, first = divmod(number, len(space.first_channels))
    for depth, counts, members in _classes(space):
        if number < members:
            split, arrangement = divmod(number, _arrangements(counts))
            multipliers = _arrangement_at(counts, (1, *space.multipliers), arrangement)
            return space.first_channels[first], Macro(_split_at(space, depth, multipliers, split))
        number -= members
    raise IndexError(f"the space {space} has no member of this number")


def _split_at(space: MacroSpace, depth: int, multipliers: tuple[int, ...], number: int) -> tuple[tuple[int, ...], ...]:
    """Cut the multipliers into stages in the way of this number."""
    stages: list[tuple[int, ...]] = []
    for stages_left in range(STAGES - 1, -1, -1):
        for size in range(1, min(space.max_stage_blocks, depth) + 1):
            ways = _depth_splits(depth - size, stages_left, space.max_stage_blocks)
            if number < ways:
                break
            number -= ways
        stages.append(multipliers[:size])
        multipliers, depth = multipliers[size:], depth - size
    return tuple(stages)


def _arrangement_at(counts: tuple[int, ...], values: tuple[int, ...], number: int) -> tuple[int, ...]:
    """The order of this number of ``counts[i]`` times ``values[i]``."""
    order: list[int] = []
    while any(counts):
        for place, value in enumerate(values):
            if not counts[place]:
                continue
            rest = (*counts[:place], counts[place] - 1, *counts[place + 1 :])
            ways = _arrangements(rest)
            if number < ways:
                order.append(value)
                counts = rest
                break
            number -= ways
    return tuple(order)


def _blocks(space: MacroSpace, blocks: Sequence[Block | str]) -> list[Block]:
    """The blocks to choose from in canonical form: those given, else those of the space."""
    parsed = (parse_block(block) if isinstance(block, str) else block for block in blocks or space.blocks)
    return list(dict.fromkeys(map(canonical_block, parsed)))


def enumerate_macros(space: MacroSpace, blocks: Sequence[Block | str] = ()) -> Iterator[Architecture]:
    """All valid architectures of the space with the given blocks, each once, in a fixed order."""
    for block in _blocks(space, blocks):
        for number in range(count_macros(space)):
            architecture = Architecture(block, *macro_at(space, number))
            if _is_valid(architecture):
                yield architecture


def random_macro(space: MacroSpace, blocks: Sequence[Block | str], rng: Generator) -> Architecture:
    """Draw a block, then a macro structure, both uniformly, until the two are valid together.

    Raises:
        EmptySpace: If no member is valid, or no block was given.
    """
    choices, members = _blocks(space, blocks), count_macros(space)
    if not choices or not members:
        raise EmptySpace(f"{len(choices)} blocks and {members} macro structures leave nothing to choose from")
    for _ in range(ATTEMPTS):
        block = choices[int(rng.integers(len(choices)))]
        # Bounds may be wider than what a 64-bit integer can number.
        number = int.from_bytes(rng.bytes(members.bit_length() // 8 + 9), "big") % members
        architecture = Architecture(block, *macro_at(space, number))
        if _is_valid(architecture):
            return architecture
    first = next(enumerate_macros(space, choices), None)
    if first is None:
        raise EmptySpace(f"no block is valid in any macro structure within {space}")
    return first
