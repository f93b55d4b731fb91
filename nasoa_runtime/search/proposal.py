"""The next candidates of a search: the same history, seed and space always give the same list.

The random stream of each candidate is seeded by (seed, level, generation, list, slot), so nothing depends on what was
drawn before, or on which process draws. Nothing is proposed twice: not what was measured before, whatever came of it,
and not what the list has already. When mutations only give known architectures, a random unseen member is proposed
instead; when the space has none left, the list stays shorter than asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

from nasoa_runtime.architecture.encoding import Architecture, canonical, parse
from nasoa_runtime.architecture.space import (
    BlockSpace,
    EmptySpace,
    MacroSpace,
    count_macros,
    enumerate_blocks,
    enumerate_macros,
    macro_for_block,
    random_block,
    random_macro,
)
from nasoa_runtime.search.individuals import Individual, Level
from nasoa_runtime.search.mutation import mutate
from nasoa_runtime.search.nsga2 import binary_tournament, select_elite

LEVEL_NUMBERS: dict[Level, int] = {"block": 1, "macro": 2}
"""Part of every seed, so these numbers never change."""
ATTEMPTS = 50
"""Mutations, and then random members, tried for a slot before the space is searched for what is left."""
ENUMERATED_AT_MOST = 1_000_000
"""Members that are listed to draw uniformly from what is left; of a larger space the first unseen one is taken."""


@dataclass(frozen=True)
class Proposal:
    """A candidate and where it comes from."""

    slot: int
    """Place in its list."""
    encoding: str
    """Canonical."""
    parents: tuple[str, ...] = ()
    """Empty for a random or a given architecture."""
    mutations: tuple[str, ...] = ()


def propose(
    *,
    level: Level,
    generation: int,
    list_index: int,
    count: int,
    history: Sequence[Individual],
    seen: AbstractSet[str],
    block_space: BlockSpace,
    macro_space: MacroSpace,
    blocks: Sequence[str] = (),
    seed: int = 0,
    elite_size: int,
    initial: Sequence[str] = (),
) -> tuple[Proposal, ...]:
    """Propose up to ``count`` unseen valid architectures; fewer only if the space has no more.

    Args:
        level: which of the two levels.
        generation: from 0; the first one has no parents.
        list_index: which list of this generation, from 0.
        count: candidates wanted.
        history: everybody evaluated at this level; failures are nobody's parents while others are there.
        seen: canonical encodings that were measured before, with whatever result.
        block_space: what the block level may propose.
        macro_space: what the macro level may propose.
        blocks: blocks to choose from at the macro level.
        seed: of the search.
        elite_size: parents are drawn from the best so many.
        initial: encodings that the first generation starts with, as far as they are new.

    Raises:
        InvalidArchitecture: one of ``initial`` or ``blocks`` is none.
    """
    source = _Source(level, block_space, replace(macro_space, blocks=tuple(blocks) or macro_space.blocks))
    taken = {*seen, *(individual.encoding for individual in history)}
    works = [individual for individual in history if individual.accuracy is not None]
    elite = select_elite(works, elite_size) if generation > 0 else ()
    given = [canonical(text) for text in initial] if generation == 0 else []
    proposals: list[Proposal] = []
    for slot in range(count):
        entropy = (seed % 2**64, LEVEL_NUMBERS[level], generation, list_index, slot)
        random = np.random.default_rng(np.random.SeedSequence(entropy))
        proposal = _given(slot, given, taken) or source.child(slot, elite, taken, random)
        proposal = proposal or source.member(slot, taken, random)
        if proposal is None:
            break
        taken.add(proposal.encoding)
        proposals.append(proposal)
    return tuple(proposals)


def _given(slot: int, given: Iterable[str], taken: AbstractSet[str]) -> Proposal | None:
    text = next((text for text in given if text not in taken), None)
    return None if text is None else Proposal(slot, text)


@dataclass
class _Source:
    """Draws candidates of one level; remembers the members once it had to list them."""

    level: Level
    block_space: BlockSpace
    macro_space: MacroSpace
    _members: list[str] | None = field(default=None, init=False)

    def child(
        self, slot: int, elite: Sequence[Individual], taken: AbstractSet[str], random: np.random.Generator
    ) -> Proposal | None:
        """An unseen child of the elite, if one is found in a bounded number of tries."""
        space = self.block_space if self.level == "block" else self.macro_space
        for _ in range(ATTEMPTS if elite else 0):
            parent = binary_tournament(elite, random)
            child, names = mutate(parse(parent.encoding), self.level, space, random)
            encoding = canonical(child)
            if names and encoding not in taken:
                return Proposal(slot, encoding, (parent.encoding,), names)
        return None

    def member(self, slot: int, taken: AbstractSet[str], random: np.random.Generator) -> Proposal | None:
        """An unseen random member, or ``None`` if there is none left."""
        try:
            for _ in range(ATTEMPTS):
                encoding = canonical(self._random(random))
                if encoding not in taken:
                    return Proposal(slot, encoding)
        except EmptySpace:
            return None
        left = self._unseen(taken)
        return Proposal(slot, left[int(random.integers(len(left)))]) if left else None

    def _unseen(self, taken: AbstractSet[str]) -> list[str]:
        """All members that are not taken; of a space that is too large to list, the first one only."""
        if self._size() > ENUMERATED_AT_MOST:
            return list(islice((text for text in self._enumerate() if text not in taken), 1))
        if self._members is None:
            self._members = list(self._enumerate())
        return [text for text in self._members if text not in taken]

    def _random(self, random: np.random.Generator) -> Architecture:
        if self.level == "block":
            return macro_for_block(random_block(self.block_space, random), self.block_space.small_macro)
        return random_macro(self.macro_space, self.macro_space.blocks, random)

    def _enumerate(self) -> Iterator[str]:
        if self.level == "block":
            small = self.block_space.small_macro
            return (canonical(macro_for_block(block, small)) for block in enumerate_blocks(self.block_space))
        return map(canonical, enumerate_macros(self.macro_space, self.macro_space.blocks))

    def _size(self) -> int:
        """Members to enumerate at most; the block spaces are all small enough."""
        return 0 if self.level == "block" else count_macros(self.macro_space) * len(self.macro_space.blocks)
