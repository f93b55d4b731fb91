"""Mutations: always valid, in the space, new, and no more than their name says."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate
from math import prod

import numpy as np
import pytest
from architectures import ALL_OPERATIONS, blocks, contains
from hypothesis import given, settings
from hypothesis import strategies as st

from nasoa_runtime.architecture.encoding import (
    Architecture,
    Block,
    canonical,
    canonical_architecture,
    canonical_block,
    format_architecture,
    format_block,
    parse,
    parse_block,
    validate,
)
from nasoa_runtime.architecture.space import (
    BlockSpace,
    MacroSpace,
    enumerate_blocks,
    enumerate_macros,
    macro_for_block,
    random_macro,
)
from nasoa_runtime.search import block_mutations, macro_mutations
from nasoa_runtime.search.mutation import BLOCK_MUTATIONS, MACRO_MUTATIONS, mutate

CANDIDATES = ("2-", "031-", "02031-a02", "23311-a02c12", "121-")
MACRO = MacroSpace(blocks=CANDIDATES)
SEEDS = st.integers(0, 2**32 - 1)


def differing(first: tuple, second: tuple) -> int:
    """In how many places two sequences of one length differ."""
    return sum(a != b for a, b in zip(first, second, strict=True))


def without_one(longer: tuple, shorter: tuple) -> bool:
    return any((*longer[:place], *longer[place + 1 :]) == shorter for place in range(len(longer)))


def operations(block: Block) -> tuple[int, ...]:
    return tuple(layer.operation for layer in block.layers)


def widths(block: Block) -> tuple[int, ...]:
    return tuple(layer.width for layer in block.layers)


def one_connection_differs(parent: Block, child: Block) -> tuple | None:
    """Old and new connection, if exactly one was exchanged."""
    gone = list((Counter(parent.connections) - Counter(child.connections)).elements())
    new = list((Counter(child.connections) - Counter(parent.connections)).elements())
    return (gone[0], new[0]) if len(gone) == len(new) == 1 else None


def retargets(parent: Block, child: Block) -> bool:
    old, new = one_connection_differs(parent, child) or (None, None)
    return bool(old and old.kind == new.kind and (old.source == new.source) != (old.target == new.target))


def retypes(parent: Block, child: Block) -> bool:
    # With both kinds between the same nodes retyping one would repeat the other, so one is exchanged or both swap.
    return Counter((c.source, c.target) for c in parent.connections) == Counter(
        (c.source, c.target) for c in child.connections
    ) and (one_connection_differs(parent, child) is not None)


BLOCK_PROMISES = {
    "change_operation": lambda parent, child: (
        differing(operations(parent), operations(child)) == 1
        and (widths(parent), parent.connections) == (widths(child), child.connections)
    ),
    "change_width": lambda parent, child: (
        differing(widths(parent), widths(child)) == 1
        and (operations(parent), parent.connections) == (operations(child), child.connections)
    ),
    "add_layer": lambda parent, child: (
        without_one(child.layers, parent.layers)
        and Counter(c.kind for c in child.connections) == Counter(c.kind for c in parent.connections)
    ),
    "remove_layer": lambda parent, child: (
        without_one(operations(parent), operations(child))
        and without_one(widths(parent)[:-1], widths(child)[:-1])
        and Counter(c.kind for c in child.connections) <= Counter(c.kind for c in parent.connections)
    ),
    "add_connection": lambda parent, child: (
        parent.layers == child.layers
        and Counter(parent.connections) < Counter(child.connections)
        and len(child.connections) == len(parent.connections) + 1
    ),
    "remove_connection": lambda parent, child: (
        parent.layers == child.layers
        and Counter(child.connections) < Counter(parent.connections)
        and len(child.connections) == len(parent.connections) - 1
    ),
    "retarget_connection": lambda parent, child: parent.layers == child.layers and retargets(parent, child),
    "retype_connection": lambda parent, child: parent.layers == child.layers and retypes(parent, child),
}


def boundaries(architecture: Architecture) -> tuple[int, ...]:
    """Before which block each downsampling comes."""
    return tuple(accumulate(len(stage) for stage in architecture.macro.stages))


def depths(architecture: Architecture) -> tuple[int, ...]:
    return tuple(len(stage) for stage in architecture.macro.stages)


def grows_by_a_plain_block(small: Architecture, large: Architecture) -> bool:
    grown = [(a, b) for a, b in zip(small.macro.stages, large.macro.stages, strict=True) if a != b]
    return len(grown) == 1 and without_one(grown[0][1], grown[0][0]) and prod(grown[0][0]) == prod(grown[0][1])


MACRO_PROMISES = {
    "change_block": lambda parent, child: (
        (parent.first_channels, parent.macro) == (child.first_channels, child.macro) and parent.block != child.block
    ),
    "change_first_channels": lambda parent, child: (parent.block, parent.macro) == (child.block, child.macro),
    "add_block": grows_by_a_plain_block,
    "remove_block": lambda parent, child: grows_by_a_plain_block(child, parent),
    "move_downsampling": lambda parent, child: (
        parent.macro.multipliers == child.macro.multipliers and differing(boundaries(parent), boundaries(child)) == 1
    ),
    "move_channel_raise": lambda parent, child: (
        depths(parent) == depths(child)
        and differing(parent.macro.multipliers, child.macro.multipliers) == 2
        and Counter(parent.macro.multipliers) == Counter(child.macro.multipliers)
    ),
    "change_channel_raise": lambda parent, child: (
        depths(parent) == depths(child) and differing(parent.macro.multipliers, child.macro.multipliers) == 1
    ),
}


def named(mutations: dict) -> list:
    return [pytest.param(name, id=name) for name in mutations]


def test_every_mutation_has_a_promise() -> None:
    assert set(BLOCK_PROMISES) == set(BLOCK_MUTATIONS)
    assert set(MACRO_PROMISES) == set(MACRO_MUTATIONS)


@pytest.mark.parametrize("name", named(BLOCK_MUTATIONS))
@settings(max_examples=60, deadline=None)
@given(block=blocks(), seed=SEEDS)
def test_a_block_mutation_gives_a_new_member_and_keeps_its_promise(name: str, block: Block, seed: int) -> None:
    parent = macro_for_block(block, ALL_OPERATIONS.small_macro)
    child = BLOCK_MUTATIONS[name](parent, ALL_OPERATIONS, np.random.default_rng(seed))
    if child is None:
        return
    validate(child)
    assert contains(ALL_OPERATIONS, child)
    assert canonical(child) == format_architecture(child) != canonical(parent)
    assert (child.first_channels, child.macro) == (parent.first_channels, parent.macro)
    assert BLOCK_PROMISES[name](canonical_block(parent.block), child.block)


@pytest.mark.parametrize("name", named(MACRO_MUTATIONS))
@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_a_macro_mutation_gives_a_new_member_and_keeps_its_promise(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parent = random_macro(MACRO, (), rng)
    child = MACRO_MUTATIONS[name](parent, MACRO, rng)
    if child is None:
        return
    validate(child)
    assert contains(MACRO, child)
    assert canonical(child) == format_architecture(child) != canonical(parent)
    if name not in ("change_block", "change_first_channels"):
        assert (child.block, child.first_channels) == (parent.block, parent.first_channels)
    assert MACRO_PROMISES[name](parent, child)


@pytest.mark.parametrize(
    ("name", "block"),
    [
        pytest.param("change_width", "0-", id="the last layer has no width to change"),
        pytest.param("add_layer", "02020-", id="three layers are the most"),
        pytest.param("remove_layer", "0-", id="one layer is the least"),
        pytest.param("add_connection", "0-", id="a single layer has no connection but the residual"),
        pytest.param("add_connection", "02020-a01a02a12", id="three connections are the most"),
        pytest.param("remove_connection", "020-", id="no connection to remove"),
        pytest.param("retarget_connection", "020-", id="no connection to retarget"),
        pytest.param("retype_connection", "020-a12", id="the last node can't be concatenated to"),
    ],
)
def test_a_block_mutation_that_finds_nothing_to_do_does_not_apply(name: str, block: str) -> None:
    parent = macro_for_block(parse_block(block))
    assert BLOCK_MUTATIONS[name](parent, BlockSpace(), np.random.default_rng(0)) is None


@pytest.mark.parametrize(
    ("name", "encoding", "space"),
    [
        pytest.param("change_block", "0-_16_2-2-2-1", MacroSpace(blocks=("0-",)), id="no other block"),
        pytest.param(
            "change_first_channels", "0-_16_2-2-2-1", MacroSpace(first_channels=(16,)), id="no other first channel"
        ),
        pytest.param("add_block", "0-_16_2-2-2-1", MacroSpace(max_blocks=4), id="no room"),
        pytest.param("remove_block", "0-_16_2-2-2-1", MacroSpace(), id="a stage needs a block"),
        pytest.param("move_downsampling", "0-_16_2-2-2-1", MacroSpace(), id="one block a stage"),
        pytest.param("move_channel_raise", "0-_16_2-2-2-2", MacroSpace(), id="every block raises"),
        pytest.param(
            "change_channel_raise", "0-_16_2-2-2-1", MacroSpace(max_widening=8, multipliers=(2,)), id="fixed widening"
        ),
    ],
)
def test_a_macro_mutation_that_finds_nothing_to_do_does_not_apply(name: str, encoding: str, space: MacroSpace) -> None:
    assert MACRO_MUTATIONS[name](parse(encoding), space, np.random.default_rng(0)) is None


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        pytest.param("10203-c01a13", {"203-", "103-c01a12", "102-c01"}, id="connections are repaired"),
        pytest.param("100-", {"1-", "0-"}, id="the new last layer gets the output width"),
        pytest.param("02020-a02", {"020-", "020-a01"}, id="a connection to the new last node is the residual"),
    ],
)
def test_removing_a_layer_repairs_what_depended_on_it(block: str, expected: set[str]) -> None:
    parent = macro_for_block(parse_block(block))
    children = block_mutations.children(
        parent, block_mutations.removed_layers(parent.block, BlockSpace()), BlockSpace()
    )
    assert {format_block(child.block) for child in children} == expected


def test_adding_a_layer_keeps_connections_with_their_layers() -> None:
    space = BlockSpace(operations=(1,), widths=(2,))
    parent = macro_for_block(parse_block("020-c01a12"))
    children = block_mutations.children(parent, block_mutations.added_layers(parent.block, space), BlockSpace())
    assert {format_block(child.block) for child in children} == {"12020-c02a23", "02120-c01a13", "02021-c01a12"}


def test_block_mutations_reach_every_member_of_a_small_space() -> None:
    space = BlockSpace(operations=(0, 1), widths=(2,), max_layers=2, max_connections=2)
    functions = (
        block_mutations.changed_operations,
        block_mutations.added_layers,
        block_mutations.removed_layers,
        block_mutations.added_connections,
        block_mutations.removed_connections,
    )
    start = macro_for_block(parse_block("0-"))
    reached, new = {start}, [start]
    while new:
        parent = new.pop()
        for function in functions:
            for child in block_mutations.children(parent, function(parent.block, space), space):
                if child not in reached:
                    reached.add(child)
                    new.append(child)
    assert {architecture.block for architecture in reached} == set(enumerate_blocks(space))


def test_macro_mutations_reach_every_member_of_a_small_space() -> None:
    space = MacroSpace((16, 32), max_blocks=6, max_stage_blocks=2, blocks=("0-", "1-"))
    functions = (
        macro_mutations.changed_blocks,
        macro_mutations.changed_first_channels,
        macro_mutations.added_blocks,
        macro_mutations.removed_blocks,
        macro_mutations.moved_downsamplings,
        macro_mutations.moved_channel_raises,
        macro_mutations.changed_channel_raises,
    )
    start = next(enumerate_macros(space))
    reached, new = {start}, [start]
    while new:
        parent = new.pop()
        for function in functions:
            for child in macro_mutations.children(parent, function(parent, space), space):
                if child not in reached:
                    reached.add(child)
                    new.append(child)
    assert reached == set(enumerate_macros(space))


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_a_child_is_a_new_member_made_by_one_or_two_named_mutations(seed: int) -> None:
    parent = macro_for_block(parse_block("02031-a12a02"))
    child, names = mutate(parent, "block", BlockSpace(), np.random.default_rng(seed))
    assert (child, names) == mutate(parent, "block", BlockSpace(), np.random.default_rng(seed))
    assert contains(BlockSpace(), child)
    assert child != canonical_architecture(parent)
    assert len(names) in (1, 2)
    assert set(names) <= set(BLOCK_MUTATIONS)


def test_one_child_in_five_is_mutated_twice() -> None:
    rng = np.random.default_rng(0)
    parent = parse("2-_32_2-11-112-1121112")
    counts = Counter(len(mutate(parent, "macro", MACRO, rng)[1]) for _ in range(500))
    assert set(counts) == {1, 2}
    assert 60 < counts[2] < 140


def test_the_only_member_of_a_space_has_no_child() -> None:
    space = BlockSpace(operations=(0,), max_layers=1)
    parent = macro_for_block(parse_block("0-"))
    assert mutate(parent, "block", space, np.random.default_rng(0)) == (parent, ())


def test_a_space_of_the_other_level_is_refused() -> None:
    with pytest.raises(TypeError, match="level 'macro' does not go with a BlockSpace"):
        mutate(parse("0-_16_2-2-2-1"), "macro", BlockSpace(), np.random.default_rng(0))
