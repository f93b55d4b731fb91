"""The search spaces: sizes, membership, draws."""

import re
from itertools import product

import numpy as np
import pytest
from architectures import MODELS, blocks, contains
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from nasoa_runtime.architecture.encoding import (
    Block,
    Layer,
    canonical_block,
    format_architecture,
    format_block,
    parse,
    parse_block,
)
from nasoa_runtime.architecture.macro_space import macro_at
from nasoa_runtime.architecture.space import (
    BlockSpace,
    EmptySpace,
    MacroSpace,
    count_blocks,
    count_macros,
    enumerate_blocks,
    enumerate_macros,
    macro_for_block,
    random_block,
    random_macro,
    space_size,
)
from nasoa_runtime.architecture.structure import InvalidArchitecture
from nasoa_runtime.architecture.wiring import is_valid_block, wire_block

SMALL = BlockSpace(operations=(0, 1, 4), max_layers=2, max_connections=2)
TINY_MACRO = MacroSpace(first_channels=(16, 32), max_blocks=6, max_stage_blocks=2, min_widening=4)


def test_the_published_block_space_has_its_published_size() -> None:
    size = space_size()
    assert size["block"] == 5_427_040
    assert size["block_canonical"] == 301_519
    assert 1.4e7 < size["macro"] < 1.7e7


@pytest.mark.parametrize(
    ("layers", "expected"), [pytest.param(1, 40, id="one layer"), pytest.param(2, 27_040, id="up to two")]
)
def test_the_paper_counts_three_coded_slots(layers: int, expected: int) -> None:
    assert space_size(BlockSpace(max_layers=layers))["block"] == expected


def test_a_tiny_block_space_is_enumerated() -> None:
    space = BlockSpace(operations=(1,), widths=(2,), max_layers=2, max_connections=2)
    # Node 0 can be added or concatenated to node 1, or both in either order; node 1 can be added to node 2.
    assert {format_block(block) for block in enumerate_blocks(space)} == {
        "1-",
        "121-",
        "121-a01",
        "121-a12",
        "121-c01",
        "121-a01c01",
        "121-a01a12",
        "121-c01a01",
        "121-c01a12",
    }
    assert count_blocks(space) == 9


def test_enumerated_blocks_are_canonical_distinct_and_contained() -> None:
    members = list(enumerate_blocks(SMALL))
    assert len(members) == len(set(members)) == count_blocks(SMALL)
    for block in members:
        assert canonical_block(block) == block
        assert contains(SMALL, macro_for_block(block, SMALL.small_macro))


def test_a_block_that_fails_at_some_multiplier_is_no_member() -> None:
    # A depthwise layer that narrows to half is valid at multiplier 2 and 4 only.
    assert not contains(BlockSpace(), macro_for_block(parse_block("411-")))
    assert contains(BlockSpace(), macro_for_block(parse_block("421-")))


@given(blocks(), st.sampled_from((2, 6, 16, 48, 128)), st.sampled_from((1, 2, 4)))
def test_the_quick_check_of_channels_agrees_with_the_plan(block: Block, inputs: int, multiplier: int) -> None:
    try:
        wire_block(block, inputs, inputs * multiplier)
        planned = True
    except InvalidArchitecture:
        planned = False
    assert is_valid_block(block, inputs, (multiplier,)) == planned


@given(st.integers(0, 2**32 - 1))
def test_random_blocks_are_canonical_members(seed: int) -> None:
    block = random_block(BlockSpace(), np.random.default_rng(seed))
    assert canonical_block(block) == block
    assert contains(BlockSpace(), macro_for_block(block))


def test_random_blocks_reach_every_member_of_a_small_space_and_repeat_with_the_seed() -> None:
    space = BlockSpace(operations=(0, 1), widths=(2,), max_layers=2, max_connections=1)
    draws = [random_block(space, rng) for rng in (np.random.default_rng(0),) for _ in range(500)]
    again = [random_block(space, rng) for rng in (np.random.default_rng(0),) for _ in range(500)]
    assert draws == again
    assert set(draws) == set(enumerate_blocks(space))


def test_a_block_space_without_valid_members_says_so() -> None:
    # Groups of 32 channels don't fit a network of 16.
    with pytest.raises(EmptySpace, match="no block structure is valid"):
        random_block(BlockSpace(operations=(5,), max_layers=1), np.random.default_rng(0))


def brute_force(space: MacroSpace) -> set[tuple[int, tuple[tuple[int, ...], ...]]]:
    stage = [s for n in range(1, space.max_stage_blocks + 1) for s in product((1, *space.multipliers), repeat=n)]
    return {
        (first, stages)
        for first in space.first_channels
        for stages in product(stage, repeat=4)
        if space.min_blocks <= sum(map(len, stages)) <= space.max_blocks
        and space.min_widening <= np.prod([m for s in stages for m in s]) <= space.max_widening
    }


def test_macro_structures_are_numbered_exactly_once_each() -> None:
    members = [macro_at(TINY_MACRO, number) for number in range(count_macros(TINY_MACRO))]
    assert len(set(members)) == len(members)
    assert {(first, macro.stages) for first, macro in members} == brute_force(TINY_MACRO)
    with pytest.raises(IndexError):
        macro_at(TINY_MACRO, len(members))


def test_enumerated_architectures_are_contained_and_leave_out_what_channels_forbid() -> None:
    members = list(enumerate_macros(TINY_MACRO, ("0-", "5-")))
    assert all(contains(TINY_MACRO, member) for member in members)
    # Groups of 32 need 32 channels at least, so only half of the macro structures hold operation 5.
    assert len(members) == count_macros(TINY_MACRO) * 3 // 2


def test_random_architectures_are_members_and_repeat_with_the_seed() -> None:
    space = MacroSpace(blocks=("0-", "02031-a02"))
    draws = [random_macro(space, (), np.random.default_rng(seed)) for seed in range(200)]
    assert draws == [random_macro(space, (), np.random.default_rng(seed)) for seed in range(200)]
    assert all(contains(space, member) for member in draws)
    assert {format_block(member.block) for member in draws} == {"0-", "02031-a02"}


def test_published_models_within_the_default_bounds_are_members() -> None:
    members = {model["name"][-1] for model in MODELS if contains(MacroSpace(), parse(model["encoding"]))}
    assert members == {"a", "b", "d", "e"}


@pytest.mark.parametrize(
    "encoding",
    [
        pytest.param("0-_24_2-2-2-1", id="first channel"),
        pytest.param("0-_16_2-2-1-1", id="too narrow at the end"),
        pytest.param("0-_16_2-2-2-4", id="too wide at the end"),
        pytest.param("0-_16_222-111111111-1-1", id="too many blocks in a stage"),
        pytest.param("0-_16_11111-222111-1111-11", id="too many blocks"),
        pytest.param("1-_16_2-2-2-1", id="another block"),
    ],
)
def test_what_is_out_of_bounds_is_no_member(encoding: str) -> None:
    assert not contains(MacroSpace(blocks=("0-",)), parse(encoding))


def test_very_large_bounds_are_counted_and_drawn_from() -> None:
    space = MacroSpace(max_blocks=200, max_stage_blocks=100, max_widening=1024)
    assert count_macros(space) > 2**63
    assert contains(space, random_macro(space, ("0-",), np.random.default_rng(0)))


def test_an_empty_choice_says_so() -> None:
    with pytest.raises(EmptySpace, match="0 blocks"):
        random_macro(MacroSpace(), (), np.random.default_rng(0))
    with pytest.raises(EmptySpace, match="no block is valid"):
        random_macro(MacroSpace(first_channels=(2,), max_blocks=5), ("5-",), np.random.default_rng(0))


@pytest.mark.parametrize("space", [pytest.param(SMALL, id="block"), pytest.param(TINY_MACRO, id="macro")])
def test_spaces_survive_json(space: BlockSpace | MacroSpace) -> None:
    adapter = TypeAdapter(type(space))
    assert adapter.validate_json(adapter.dump_json(space)) == space


@pytest.mark.parametrize(
    ("build", "message"),
    [
        pytest.param(lambda: BlockSpace(operations=(7,)), "write at least one of 0 to 6", id="operation"),
        pytest.param(lambda: BlockSpace(operations=()), "write at least one of 0 to 6", id="no operation"),
        pytest.param(lambda: BlockSpace(widths=(5,)), "write at least one of 0 to 4", id="width"),
        pytest.param(lambda: BlockSpace(max_layers=4), "write 1 to 3", id="layers"),
        pytest.param(lambda: BlockSpace(max_connections=4), "write 0 to 3", id="connections"),
        pytest.param(lambda: BlockSpace(small_macro="16_1-1-1"), "exactly three", id="small macro"),
        pytest.param(lambda: MacroSpace(first_channels=(15,)), "write even numbers", id="odd first channel"),
        pytest.param(lambda: MacroSpace(multipliers=(3,)), "write 2, 4 or both", id="multiplier"),
        pytest.param(lambda: MacroSpace(min_blocks=9, max_blocks=8), "no more for min_blocks", id="blocks"),
        pytest.param(lambda: MacroSpace(min_widening=9, max_widening=8), "min_widening", id="widening"),
        pytest.param(lambda: MacroSpace(blocks=("9-",)), "operation '9'", id="candidate block"),
    ],
)
def test_impossible_bounds_are_refused_with_what_to_write(build: type, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        build()


def test_the_small_network_of_a_block_is_fixed() -> None:
    assert format_architecture(macro_for_block(Block((Layer(0),)))) == "0-_16_1-2-2-2"
    assert format_architecture(macro_for_block(Block((Layer(0),)), "8_1-1-11-2")) == "0-_8_1-1-11-2"
