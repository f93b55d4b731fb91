"""Proposals: the same inputs give the same list, nothing comes twice, and an exhausted space ends the list."""

import subprocess
import sys

import pytest
from architectures import contains
from hypothesis import given, settings
from hypothesis import strategies as st

from nasoa_runtime.architecture.encoding import canonical, format_block, parse
from nasoa_runtime.architecture.space import BlockSpace, MacroSpace, count_blocks, count_macros
from nasoa_runtime.search import proposal as proposal_module
from nasoa_runtime.search.individuals import Individual
from nasoa_runtime.search.proposal import propose

BLOCKS = ("0-", "041-")
SMALL_BLOCKS = BlockSpace(operations=(0, 1), widths=(2,), max_layers=2, max_connections=1)
SMALL_MACROS = MacroSpace(first_channels=(16,), max_blocks=5, max_stage_blocks=2, multipliers=(2,), max_widening=8)


def call(**changes):
    arguments = {
        "level": "macro",
        "generation": 0,
        "list_index": 0,
        "count": 6,
        "history": (),
        "seen": frozenset(),
        "block_space": BlockSpace(),
        "macro_space": MacroSpace(),
        "blocks": BLOCKS,
        "seed": 3,
        "elite_size": 4,
    }
    return propose(**(arguments | changes))


def evaluated(proposals, level="macro", generation=0, accuracy=lambda slot: 0.1 * slot) -> tuple[Individual, ...]:
    """A history: the later in the list the more accurate, and the slower."""
    return tuple(
        Individual(
            p.encoding,
            0.01 * (p.slot + 1),
            accuracy(p.slot),
            None if accuracy(p.slot) is not None else "Diverged",
            level,
            generation,
            p.slot,
        )
        for p in proposals
    )


def encodings(proposals) -> list[str]:
    return [proposal.encoding for proposal in proposals]


@pytest.mark.parametrize("level", ["block", "macro"])
def test_the_first_generation_has_random_members(level) -> None:
    proposals = call(level=level)
    space = BlockSpace() if level == "block" else MacroSpace(blocks=BLOCKS)
    assert [proposal.slot for proposal in proposals] == list(range(6))
    assert all(contains(space, parse(encoding)) for encoding in encodings(proposals))
    assert all(canonical(encoding) == encoding for encoding in encodings(proposals))
    assert all(proposal.parents == proposal.mutations == () for proposal in proposals)


def test_given_architectures_come_first_in_canonical_form() -> None:
    given = ("02031-a02a01_64_111-2111-211-11", "02031-a01a02_64_111-2111-211-11", "0-_16_1-1-1-1")
    proposals = call(count=4, initial=given, seen={"0-_16_1-1-1-1"})
    assert encodings(proposals)[0] == "02031-a01a02_64_111-2111-211-11"
    assert {format_block(parse(encoding).block) for encoding in encodings(proposals)[1:]} <= set(BLOCKS)
    later = call(generation=1, history=evaluated(proposals), initial=("0-_32_1-1-1-1",))
    assert "0-_32_1-1-1-1" not in encodings(later)


@pytest.mark.parametrize("level", ["block", "macro"])
def test_later_generations_have_children_of_the_elite(level) -> None:
    first = call(level=level, count=10)
    history = evaluated(first, level)
    children = call(level=level, generation=1, history=history, elite_size=3)
    # All are on the front here; both ends and then the least crowded ones are the elite.
    assert {parent for child in children for parent in child.parents} <= set(encodings(first))
    assert all(1 <= len(child.mutations) <= 2 for child in children)
    assert not set(encodings(children)) & set(encodings(first))


def test_parents_have_succeeded() -> None:
    first = call(count=8)
    history = evaluated(first, accuracy=lambda slot: 0.5 if slot == 3 else None)
    children = call(generation=1, history=history, elite_size=8)
    assert {parent for child in children for parent in child.parents} == {first[3].encoding}


def test_without_a_success_random_members_come() -> None:
    history = evaluated(call(), accuracy=lambda slot: None)
    proposals = call(generation=1, history=history)
    assert len(proposals) == 6
    assert all(proposal.parents == () for proposal in proposals)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["block", "macro"]),
    st.integers(0, 3),
    st.integers(0, 4),
    st.integers(0, 2**31),
    st.integers(0, 12),
    st.randoms(use_true_random=False),
)
def test_the_same_inputs_in_any_order_give_the_same_list_and_nothing_twice(
    level, generation, list_index, seed, count, random
) -> None:
    history = list(evaluated(call(level=level, seed=7), level))
    seen = set(encodings(call(level=level, seed=8)))
    arguments = {"level": level, "generation": generation, "list_index": list_index, "seed": seed, "count": count}
    once = call(history=history, seen=seen, **arguments)
    random.shuffle(history)
    assert call(history=history, seen=frozenset(seen), **arguments) == once
    proposed = encodings(once)
    assert len(proposed) == count == len(set(proposed))
    assert not set(proposed) & (seen | {individual.encoding for individual in history})


def test_a_list_is_the_beginning_of_a_longer_one() -> None:
    assert call(count=3) == call(count=6)[:3]


def test_lists_and_generations_and_levels_and_seeds_have_streams_of_their_own() -> None:
    lists = [call(), call(list_index=1), call(generation=1), call(seed=4)]
    assert len({tuple(encodings(proposals)) for proposals in lists}) == 4


def test_another_process_proposes_the_same() -> None:
    code = (
        "from nasoa_runtime.search.proposal import propose\n"
        "from nasoa_runtime.architecture.space import BlockSpace, MacroSpace\n"
        "print([p.encoding for p in propose(level='block', generation=0, list_index=0, count=4, history=(), "
        "seen=set(), block_space=BlockSpace(), macro_space=MacroSpace(), seed=3, elite_size=4)])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == str(encodings(call(level="block", count=4)))


@pytest.mark.parametrize(
    ("level", "spaces", "members"),
    [
        pytest.param("block", {"block_space": SMALL_BLOCKS}, count_blocks(SMALL_BLOCKS), id="block"),
        pytest.param(
            "macro",
            {"macro_space": SMALL_MACROS},
            len(BLOCKS) * count_macros(SMALL_MACROS),
            id="macro",
        ),
    ],
)
def test_a_small_space_is_proposed_to_the_last_member_and_then_nothing(level, spaces, members) -> None:
    found: list[Individual] = []
    for generation in range(members):
        proposals = call(level=level, generation=generation, count=7, history=found, **spaces)
        found += evaluated(proposals, level, generation)
        if len(proposals) < 7:
            break
    names = {individual.encoding for individual in found}
    assert len(names) == len(found) == members
    assert call(level=level, generation=99, count=7, history=found, **spaces) == ()
    assert call(level=level, generation=0, count=7, seen=names, **spaces) == ()


def test_a_space_too_large_to_list_is_proposed_to_the_last_member_too(monkeypatch) -> None:
    monkeypatch.setattr(proposal_module, "ENUMERATED_AT_MOST", 10)
    monkeypatch.setattr(proposal_module, "ATTEMPTS", 1)
    members = len(BLOCKS) * count_macros(SMALL_MACROS)
    proposals = call(macro_space=SMALL_MACROS, count=members + 5)
    assert len({*encodings(proposals)}) == len(proposals) == members


def test_without_blocks_the_macro_level_has_nothing_to_propose() -> None:
    assert call(blocks=()) == ()


def test_blocks_of_a_later_generation_stay_among_the_candidates() -> None:
    proposals = call(generation=2, history=evaluated(call()), count=20)
    assert {format_block(parse(encoding).block) for encoding in encodings(proposals)} <= set(BLOCKS)
