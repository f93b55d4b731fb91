"""Mutations of the block structure. Each lists all children that it could make; drawing one is left to the caller.

All children are canonical members of the space that differ from the parent, so a mutation is valid by construction,
and one that finds no child is known not to apply.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from nasoa_runtime.architecture.block_space import BlockSpace, contains_block, possible_connections
from nasoa_runtime.architecture.encoding import canonical_block
from nasoa_runtime.architecture.structure import (
    LAST_WIDTH,
    Architecture,
    Block,
    Connection,
    InvalidArchitecture,
    Layer,
    check_block,
)
from nasoa_runtime.architecture.wiring import check_channels


def children(parent: Architecture, blocks: Iterable[Block], space: BlockSpace) -> list[Architecture]:
    """The networks that some of these blocks make in the parent's macro structure: valid, in the space, and new."""
    found: dict[Block, Architecture] = {}
    for written in blocks:
        block = canonical_block(written)
        if block in found or block == canonical_block(parent.block):
            continue
        child = replace(parent, block=block)
        try:
            check_block(block)
            check_channels(child)
        except InvalidArchitecture:
            continue
        if contains_block(space, block):
            found[block] = child
    return list(found.values())


def changed_operations(block: Block, space: BlockSpace) -> Iterator[Block]:
    """One layer does something else."""
    for place, layer in enumerate(block.layers):
        for operation in space.operations:
            yield _with_layer(block, place, replace(layer, operation=operation))


def changed_widths(block: Block, space: BlockSpace) -> Iterator[Block]:
    """One layer but the last, whose width is fixed, is wider or narrower."""
    for place, layer in enumerate(block.layers[:-1]):
        for width in space.widths:
            yield _with_layer(block, place, replace(layer, width=width))


def _with_layer(block: Block, place: int, layer: Layer) -> Block:
    return replace(block, layers=(*block.layers[:place], layer, *block.layers[place + 1 :]))


def added_layers(block: Block, space: BlockSpace) -> Iterator[Block]:
    """One layer more, anywhere.

    Connections stay with the layers they joined. At the end, the layer that was last keeps the width it had, and the
    residual goes to the new last layer.
    """
    if len(block.layers) == space.max_layers:
        return
    for place in range(len(block.layers) + 1):
        connections = tuple(
            Connection(c.kind, c.source + (c.source > place), c.target + (c.target > place)) for c in block.connections
        )
        at_the_end = place == len(block.layers)
        for operation in space.operations:
            for width in (LAST_WIDTH,) if at_the_end else space.widths:
                layers = (*block.layers[:place], Layer(operation, width), *block.layers[place:])
                yield Block(layers, connections)


def removed_layers(block: Block, space: BlockSpace) -> Iterator[Block]:
    """One layer less.

    Repaired: the connections of the layer go with it. If it was the last one, the one before gets the block's output
    width, and loses the connections that a last layer can't have.
    """
    if len(block.layers) == 1:
        return
    for node in range(1, len(block.layers) + 1):
        layers = (*block.layers[: node - 1], *block.layers[node:])
        layers = (*layers[:-1], replace(layers[-1], width=LAST_WIDTH))
        possible = possible_connections(len(layers))
        kept = (
            Connection(c.kind, c.source - (c.source > node), c.target - (c.target > node))
            for c in block.connections
            if node not in (c.source, c.target)
        )
        yield Block(layers, tuple(c for c in kept if c in possible))


def added_connections(block: Block, space: BlockSpace) -> Iterator[Block]:
    """One connection more, at any place in the order."""
    if len(block.connections) == space.max_connections:
        return
    for connection in possible_connections(len(block.layers)):
        for place in range(len(block.connections) + 1):
            yield _with_connections(block, place, place, connection)


def removed_connections(block: Block, space: BlockSpace) -> Iterator[Block]:
    """One connection less."""
    for place in range(len(block.connections)):
        yield _with_connections(block, place, place + 1)


def retargeted_connections(block: Block, space: BlockSpace) -> Iterator[Block]:
    """One connection of the same kind has another source or another target, and keeps its place in the order."""
    for place, old in enumerate(block.connections):
        for new in possible_connections(len(block.layers)):
            if new.kind == old.kind and (new.source == old.source) != (new.target == old.target):
                yield _with_connections(block, place, place + 1, new)


def retyped_connections(block: Block, space: BlockSpace) -> Iterator[Block]:
    """One connection adds instead of concatenating, or the other way round."""
    for place, old in enumerate(block.connections):
        yield _with_connections(block, place, place + 1, replace(old, kind="c" if old.kind == "a" else "a"))


def _with_connections(block: Block, start: int, stop: int, *new: Connection) -> Block:
    return replace(block, connections=(*block.connections[:start], *new, *block.connections[stop:]))
