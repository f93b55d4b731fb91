"""The named mutations of both levels, and how a parent becomes a child."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from nasoa_runtime.architecture.encoding import Architecture, Block, canonical_architecture
from nasoa_runtime.architecture.space import BlockSpace, MacroSpace
from nasoa_runtime.search import block_mutations, macro_mutations

if TYPE_CHECKING:
    from numpy.random import Generator

    BlockMutation = Callable[[Architecture, BlockSpace, Generator], Architecture | None]
    MacroMutation = Callable[[Architecture, MacroSpace, Generator], Architecture | None]

SECOND_PROBABILITY = 0.2
"""How often a child is mutated twice."""


def _block_mutation(neighbours: Callable[[Block, BlockSpace], Iterator[Block]]) -> BlockMutation:
    """Draw uniformly from the children that a mutation could make; ``None`` if there are none."""

    def mutation(architecture: Architecture, space: BlockSpace, rng: Generator) -> Architecture | None:
        found = block_mutations.children(architecture, neighbours(architecture.block, space), space)
        return found[int(rng.integers(len(found)))] if found else None

    return mutation


def _macro_mutation(neighbours: Callable[[Architecture, MacroSpace], Iterator[Architecture]]) -> MacroMutation:
    """Draw uniformly from the children that a mutation could make; ``None`` if there are none."""

    def mutation(architecture: Architecture, space: MacroSpace, rng: Generator) -> Architecture | None:
        found = macro_mutations.children(architecture, neighbours(architecture, space), space)
        return found[int(rng.integers(len(found)))] if found else None

    return mutation


change_operation = _block_mutation(block_mutations.changed_operations)
change_width = _block_mutation(block_mutations.changed_widths)
add_layer = _block_mutation(block_mutations.added_layers)
remove_layer = _block_mutation(block_mutations.removed_layers)
add_connection = _block_mutation(block_mutations.added_connections)
remove_connection = _block_mutation(block_mutations.removed_connections)
retarget_connection = _block_mutation(block_mutations.retargeted_connections)
retype_connection = _block_mutation(block_mutations.retyped_connections)

change_block = _macro_mutation(macro_mutations.changed_blocks)
change_first_channels = _macro_mutation(macro_mutations.changed_first_channels)
add_block = _macro_mutation(macro_mutations.added_blocks)
remove_block = _macro_mutation(macro_mutations.removed_blocks)
move_downsampling = _macro_mutation(macro_mutations.moved_downsamplings)
move_channel_raise = _macro_mutation(macro_mutations.moved_channel_raises)
change_channel_raise = _macro_mutation(macro_mutations.changed_channel_raises)

BLOCK_MUTATIONS = MappingProxyType(
    {
        "change_operation": change_operation,
        "change_width": change_width,
        "add_layer": add_layer,
        "remove_layer": remove_layer,
        "add_connection": add_connection,
        "remove_connection": remove_connection,
        "retarget_connection": retarget_connection,
        "retype_connection": retype_connection,
    }
)
"""Mutations of the first level, by name. They take a :class:`BlockSpace`."""

MACRO_MUTATIONS = MappingProxyType(
    {
        "change_block": change_block,
        "change_first_channels": change_first_channels,
        "add_block": add_block,
        "remove_block": remove_block,
        "move_downsampling": move_downsampling,
        "move_channel_raise": move_channel_raise,
        "change_channel_raise": change_channel_raise,
    }
)
"""Mutations of the second level, by name. They take a :class:`MacroSpace`, whose ``blocks`` are the candidates."""


def mutate(
    architecture: Architecture, level: Literal["block", "macro"], space: BlockSpace | MacroSpace, rng: Generator
) -> tuple[Architecture, tuple[str, ...]]:
    """Make a child by one mutation, or by two with probability 0.2.

    Returns:
        The child in canonical form and the names of its mutations in order; the parent and no name, if no mutation
        applies. A second mutation that would lead back to the parent is left out.

    Raises:
        TypeError: If the space is not one of the level.
    """
    parent = canonical_architecture(architecture)
    child, names = parent, tuple[str, ...]()
    for _ in range(1 + int(rng.random() < SECOND_PROBABILITY)):
        mutated, name = _mutate_once(child, level, space, rng)
        if mutated is None or mutated == parent:
            break
        child, names = mutated, (*names, name)
    return child, names


def _mutate_once(
    architecture: Architecture, level: str, space: BlockSpace | MacroSpace, rng: Generator
) -> tuple[Architecture | None, str]:
    """Try the level's mutations in random order until one applies."""
    if level == "block" and isinstance(space, BlockSpace):
        for place in rng.permutation(len(BLOCK_MUTATIONS)):
            name, block_mutation = list(BLOCK_MUTATIONS.items())[place]
            if (child := block_mutation(architecture, space, rng)) is not None:
                return child, name
    elif level == "macro" and isinstance(space, MacroSpace):
        for place in rng.permutation(len(MACRO_MUTATIONS)):
            name, macro_mutation = list(MACRO_MUTATIONS.items())[place]
            if (child := macro_mutation(architecture, space, rng)) is not None:
                return child, name
    else:
        raise TypeError(f"level {level!r} does not go with a {type(space).__name__}")
    return None, ""
