"""The space of block structures: which there are, how many, and drawing one at random."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations, product
from typing import TYPE_CHECKING

from nasoa_runtime.architecture.encoding import canonical_block, parse_first_channels, parse_macro
from nasoa_runtime.architecture.structure import (
    MAX_CONNECTIONS,
    MAX_LAYERS,
    MULTIPLIERS,
    OPERATIONS,
    WIDTHS,
    Architecture,
    Block,
    Connection,
    Layer,
)
from nasoa_runtime.architecture.wiring import is_valid_block, placements

if TYPE_CHECKING:
    from numpy.random import Generator

REFERENCE_CHANNELS = 128
"""Input channels at which a block's validity is judged: a quarter of them still makes a group of operation 5, so what
fails here fails for its structure, whatever the first channel."""
ATTEMPTS = 1000


class EmptySpace(ValueError):  # noqa: N818 - reads as what is wrong
    """No member of the space is valid."""


@dataclass(frozen=True)
class BlockSpace:
    """Bounds of the block structures that a search may propose. The defaults are the published space."""

    operations: tuple[int, ...] = (0, 1, 2, 3, 4)
    widths: tuple[int, ...] = WIDTHS
    """Of all layers but the last."""
    max_layers: int = MAX_LAYERS
    max_connections: int = MAX_CONNECTIONS
    """Besides the residual."""
    small_macro: str = "16_1-2-2-2"
    """``FIRSTCHANNEL_MACRO`` of the one network in which block structures are compared."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "operations", tuple(sorted(set(self.operations))))
        object.__setattr__(self, "widths", tuple(sorted(set(self.widths))))
        if not self.operations or not set(self.operations) <= set(range(len(OPERATIONS))):
            raise ValueError(f"operations {list(self.operations)}: write at least one of 0 to {len(OPERATIONS) - 1}")
        if not set(self.widths) <= set(WIDTHS) or (not self.widths and self.max_layers > 1):
            raise ValueError(f"widths {list(self.widths)}: write at least one of 0 to {WIDTHS[-1]}")
        if not 1 <= self.max_layers <= MAX_LAYERS:
            raise ValueError(f"max_layers {self.max_layers}: write 1 to {MAX_LAYERS}")
        if not 0 <= self.max_connections <= MAX_CONNECTIONS:
            raise ValueError(f"max_connections {self.max_connections}: write 0 to {MAX_CONNECTIONS}")
        first_channels, _, macro = self.small_macro.partition("_")
        parse_first_channels(first_channels)
        parse_macro(macro)


def macro_for_block(block: Block, small_macro: str = BlockSpace.small_macro) -> Architecture:
    """The network in which a block structure is evaluated at the first level: always the same macro structure.

    Args:
        block: The block structure.
        small_macro: ``FIRSTCHANNEL_MACRO``.
    """
    first_channels, _, macro = small_macro.partition("_")
    return Architecture(block, parse_first_channels(first_channels), parse_macro(macro))


def contains_block(space: BlockSpace, block: Block) -> bool:
    """Whether a block, in whatever order its connections are written, is a valid member."""
    return (
        len(block.layers) <= space.max_layers
        and {layer.operation for layer in block.layers} <= set(space.operations)
        and {layer.width for layer in block.layers[:-1]} <= set(space.widths)
        and len(block.connections) <= space.max_connections
        and _fits(space, block)
    )


def _fits(space: BlockSpace, block: Block) -> bool:
    """Whether a block can enter the macro phase (valid at every multiplier) and is valid in the small network."""
    return is_valid_block(block, REFERENCE_CHANNELS, MULTIPLIERS) and all(
        is_valid_block(block, inputs, (multiplier,)) for inputs, multiplier in _small_shapes(space.small_macro)
    )


@lru_cache
def _small_shapes(small_macro: str) -> tuple[tuple[int, int], ...]:
    """Distinct (input channels, multiplier) of the blocks of the small network."""
    network = macro_for_block(Block((Layer(0),)), small_macro)
    return tuple(dict.fromkeys((p.inputs, p.outputs // p.inputs) for p in placements(network)))


@lru_cache
def possible_connections(layers: int) -> tuple[Connection, ...]:
    """All connections that a block of so many layers may have."""
    return tuple(
        Connection(kind, source, target)
        for target in range(1, layers + 1)
        for source in range(target)
        for kind in ("a", "c")
        if not (target == layers and (kind == "c" or source == 0))
    )


@lru_cache
def connection_sequences(layers: int, connections: int) -> tuple[tuple[Connection, ...], ...]:
    """All canonical orders of so many different connections in a block of so many layers."""
    body = (Layer(0),) * layers
    return tuple(
        sequence
        for sequence in permutations(possible_connections(layers), connections)
        if canonical_block(Block(body, sequence)).connections == sequence
    )


def _valid_families(space: BlockSpace) -> Iterator[tuple[tuple[Layer, ...], list[tuple[Connection, ...]]]]:
    """Each choice of layers with the connection sequences that are valid for it.

    Only concatenations change channel numbers, so validity is checked once for each set of them.
    """
    for count in range(1, space.max_layers + 1):
        families: dict[tuple[Connection, ...], list[tuple[Connection, ...]]] = {}
        for connections in range(space.max_connections + 1):
            for sequence in connection_sequences(count, connections):
                concatenations = tuple(sorted((c for c in sequence if c.kind == "c"), key=str))
                families.setdefault(concatenations, []).append(sequence)
        for widths in product(space.widths, repeat=count - 1):
            for operations in product(space.operations, repeat=count):
                layers = (*map(Layer, operations, widths), Layer(operations[-1]))
                valid = [
                    sequence
                    for concatenations, sequences in families.items()
                    if _fits(space, Block(layers, concatenations))
                    for sequence in sequences
                ]
                yield layers, valid


def enumerate_blocks(space: BlockSpace) -> Iterator[Block]:
    """All valid members in canonical form, each once, in a fixed order."""
    for layers, sequences in _valid_families(space):
        for sequence in sequences:
            yield Block(layers, sequence)


@lru_cache
def count_blocks(space: BlockSpace) -> int:
    """Number of valid members in canonical form; some seconds for the whole space, then remembered."""
    return sum(len(sequences) for _, sequences in _valid_families(space))


def count_coded_blocks(space: BlockSpace) -> int:
    """The size of the space as the paper counts it.

    A block of n layers is coded by n operations, n - 1 widths and ``max_connections`` slots, each holding one of the
    n (n + 1) / 2 node pairs in one of two kinds: 40 + 27,000 + 5,400,000 for one to three layers by default. Codes
    that are invalid or name the same block are counted, too.
    """
    return sum(
        len(space.operations) ** n * len(space.widths) ** (n - 1) * (n * (n + 1)) ** space.max_connections
        for n in range(1, space.max_layers + 1)
    )


def random_block(space: BlockSpace, rng: Generator) -> Block:
    """Draw a valid member in canonical form.

    The number of layers is drawn first, then that of connections, then the rest, each uniformly: drawn uniformly from
    all members, 99 of 100 would have three layers, and the small ones, which train fastest, would hardly be seen.

    Raises:
        EmptySpace: If no member is valid.
    """
    for _ in range(ATTEMPTS):
        count = int(rng.integers(1, space.max_layers + 1))
        most = min(space.max_connections, len(possible_connections(count)))
        sequences = connection_sequences(count, int(rng.integers(most + 1)))
        operations = [int(rng.choice(space.operations)) for _ in range(count)]
        widths = [int(rng.choice(space.widths)) for _ in range(count - 1)]
        layers = (*map(Layer, operations, widths), Layer(operations[-1]))
        block = Block(layers, sequences[int(rng.integers(len(sequences)))])
        if _fits(space, block):
            return block
    members = list(enumerate_blocks(space))
    if not members:
        raise EmptySpace(f"no block structure is valid within {space}")
    return members[int(rng.integers(len(members)))]
