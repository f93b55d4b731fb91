"""What an architecture is made of, as plain values, and the rules that hold for a block on its own.

The rules that need channel numbers (whole widths, groups that divide) are in :mod:`nasoa_runtime.architecture.wiring`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["a", "c"]
"""How a connection joins its target: added, or concatenated in front."""

OPERATIONS = (
    "conv 3x3",
    "conv 1x1",
    "conv 3x3 in 2 groups",
    "conv 3x3 in 4 groups",
    "depthwise conv 3x3",
    "conv 3x3 in groups of 32 channels",
    "depthwise-separable conv 3x3",
)
"""The operations; an operation's digit is its place here."""
POINTWISE = 1
"""The operation without a spatial extent, which a block's stride skips."""
WIDTHS = (0, 1, 2, 3, 4)
"""Width w gives a layer ``2**w / 4`` times the channels of the block's output."""
LAST_WIDTH = 2
"""The last layer has the block's output channels, always."""
MULTIPLIERS = (1, 2, 4)
"""What a block may multiply the channels by."""
STAGES = 4
HEAD_ONLY = STAGES + 1
"""Frozen stages at which only the classifier is trained; 1 freezes the stem, k the stem and stages up to k - 1."""
FROZEN_STAGES = tuple(range(HEAD_ONLY + 1))
"""All numbers of frozen stages that there are."""
MAX_LAYERS = 3
MAX_CONNECTIONS = 3
MAX_FIRST_CHANNELS = 999_999
"""Six digits: far beyond what can be trained, and short enough that no number of a string gets out of hand."""


class InvalidArchitecture(ValueError):  # noqa: N818 - the message, not the name, says that it is an error
    """An architecture breaks a rule. The message says which, where, and what to write instead."""


@dataclass(frozen=True)
class Layer:
    """One convolution of a block: what it does, and how wide it is."""

    operation: int
    width: int = LAST_WIDTH


@dataclass(frozen=True)
class Connection:
    """A shortcut between two nodes; node 0 is the block's input, node i the output of layer i."""

    kind: Kind
    source: int
    target: int

    def __str__(self) -> str:
        return f"{self.kind}{self.source}{self.target}"


@dataclass(frozen=True)
class Block:
    """The structure that all blocks of a network share; the residual from input to output is implied."""

    layers: tuple[Layer, ...]
    connections: tuple[Connection, ...] = ()


@dataclass(frozen=True)
class Macro:
    """Channel multipliers of the blocks, stage by stage. The first block of stages 2 to 4 halves the resolution."""

    stages: tuple[tuple[int, ...], ...]

    @property
    def multipliers(self) -> tuple[int, ...]:
        """The multipliers of all blocks in order."""
        return tuple(multiplier for stage in self.stages for multiplier in stage)

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return sum(len(stage) for stage in self.stages)


@dataclass(frozen=True)
class Architecture:
    """A whole network but for its classes: block structure, stem width, and how blocks are stacked."""

    block: Block
    first_channels: int
    macro: Macro


def check_block(block: Block) -> None:
    """Check all rules of a block that don't depend on channel numbers.

    Raises:
        InvalidArchitecture: With the layer or connection that breaks a rule.
    """
    if not 1 <= len(block.layers) <= MAX_LAYERS:
        raise InvalidArchitecture(f"the block has {len(block.layers)} layers; write 1 to {MAX_LAYERS}")
    for number, layer in enumerate(block.layers, start=1):
        if layer.operation not in range(len(OPERATIONS)):
            raise InvalidArchitecture(
                f"layer {number}: operation {layer.operation} is unknown; write 0 to {len(OPERATIONS) - 1}"
            )
        if layer.width not in WIDTHS:
            raise InvalidArchitecture(f"layer {number}: width {layer.width} is unknown; write 0 to {WIDTHS[-1]}")
    if block.layers[-1].width != LAST_WIDTH:
        raise InvalidArchitecture(f"the last layer's width is always {LAST_WIDTH}, not {block.layers[-1].width}")
    if len(block.connections) > MAX_CONNECTIONS:
        raise InvalidArchitecture(
            f"the block has {len(block.connections)} connections; write at most {MAX_CONNECTIONS}"
        )
    for number, connection in enumerate(block.connections, start=1):
        _check_connection(connection, len(block.layers), f"connection {number} ({connection})")
        if connection in block.connections[: number - 1]:
            raise InvalidArchitecture(f"connection {number} ({connection}) is written twice; leave one out")


def _check_connection(connection: Connection, last: int, where: str) -> None:
    """Check one connection of a block whose last node is ``last``."""
    kind, source, target = connection.kind, connection.source, connection.target
    if kind not in get_args(Kind):
        raise InvalidArchitecture(f"{where}: kind {kind!r} is unknown; write a (add) or c (concatenate)")
    if not 1 <= target <= last:
        raise InvalidArchitecture(f"{where}: node {target} is no target; write one of 1 to {last}")
    if not 0 <= source < target:
        raise InvalidArchitecture(
            f"{where}: source {source} does not come before target {target}; write a source of 0 to {target - 1}"
        )
    if kind == "c" and target == last:
        raise InvalidArchitecture(
            f"{where}: the last node can't be concatenated to, as the block's output width is fixed; "
            + (f"write a{source}{target}, or another target" if source else "leave it out")
        )
    if source == 0 and target == last:
        raise InvalidArchitecture(
            f"{where}: the residual from the block's input to its last node is always there and isn't written; "
            "leave it out"
        )
