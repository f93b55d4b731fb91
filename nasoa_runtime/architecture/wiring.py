"""From digits to convolutions: which ones a block has, with what channels, strides and groups.

Complexity sums over this plan and the network builds it, so both rest on one reading of the encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from nasoa_runtime.architecture.structure import (
    MAX_FIRST_CHANNELS,
    MULTIPLIERS,
    POINTWISE,
    STAGES,
    Architecture,
    Block,
    Connection,
    InvalidArchitecture,
    Macro,
)

GROUP_CHANNELS = 32
"""Channels in one group of operation 5."""


@dataclass(frozen=True)
class Convolution:
    """A bias-free convolution, padded so that only its stride changes the resolution."""

    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    groups: int = 1

    @property
    def weights(self) -> int:
        """Number of weights; also the multiply-accumulates for each output position."""
        return self.inputs // self.groups * self.outputs * self.kernel**2


@dataclass(frozen=True)
class Join:
    """A connection at its target, with the strided or widening 1x1 convolution that its source passes, if any."""

    connection: Connection
    projection: Convolution | None


@dataclass(frozen=True)
class Node:
    """A layer and what joins it: convolutions, one BatchNorm, the joins in order, ReLU."""

    convolutions: tuple[Convolution, ...]
    joins: tuple[Join, ...]
    channels: int
    """After all joins: what the next layer reads."""
    reduction: int
    """By what the resolution is smaller than the block's input: 1, or the block's stride."""


@dataclass(frozen=True)
class Placement:
    """One block of the network: where it is, and the channels and stride it was given. Stages count from 1."""

    stage: int
    number: int
    inputs: int
    outputs: int
    stride: int


def wire_stem(first_channels: int, *, low_resolution: bool = False) -> tuple[Convolution, Convolution, Convolution]:
    """The three convolutions in front of the first stage; without their strides for small images."""
    stride = 1 if low_resolution else 2
    half = first_channels // 2
    return (
        Convolution(3, half, 3, stride),
        Convolution(half, half, 3),
        Convolution(half, first_channels, 3, stride),
    )


def placements(architecture: Architecture) -> Iterator[Placement]:
    """All blocks of the network in order."""
    channels = architecture.first_channels
    for stage, multipliers in enumerate(architecture.macro.stages, start=1):
        for number, multiplier in enumerate(multipliers, start=1):
            stride = 2 if stage > 1 and number == 1 else 1
            yield Placement(stage, number, channels, channels * multiplier, stride)
            channels *= multiplier


@lru_cache(maxsize=65_536)
def wire_block(block: Block, inputs: int, outputs: int, stride: int = 1) -> tuple[Node, ...]:
    """The nodes of a block after its input.

    The stride is on the first layer that isn't 1x1, or on the last one if all are. Connections to one target are
    handled in the order written; an added source is brought to the channels that its target has by then.

    Raises:
        InvalidArchitecture: If a width isn't whole or channels don't divide by the groups.
    """
    last = len(block.layers)
    strided = next((i for i, layer in enumerate(block.layers, 1) if layer.operation != POINTWISE), last)
    connections = (*block.connections, Connection("a", 0, last))
    channels, reductions = [inputs], [1]
    nodes: list[Node] = []
    for number, layer in enumerate(block.layers, start=1):
        quarters = outputs * 2**layer.width
        if quarters % 4:
            raise InvalidArchitecture(
                f"layer {number}: width {layer.width} gives {quarters / 4:g} channels of a block of {outputs}; "
                "write a greater width or more first channels"
            )
        reduction = stride if number >= strided else 1
        convolutions = _convolutions(
            layer.operation, channels[-1], quarters // 4, stride if number == strided else 1, f"layer {number}"
        )
        width = quarters // 4
        joins: list[Join] = []
        for connection in connections:
            if connection.target != number:
                continue
            source = channels[connection.source]
            step = reduction // reductions[connection.source]
            if connection.kind == "a":
                joins.append(Join(connection, _projection(source, width, step)))
            else:
                joins.append(Join(connection, _projection(source, source, step)))
                width += source
        channels.append(width)
        reductions.append(reduction)
        nodes.append(Node(convolutions, tuple(joins), width, reduction))
    return tuple(nodes)


def _projection(source: int, target: int, stride: int) -> Convolution | None:
    return None if source == target and stride == 1 else Convolution(source, target, 1, stride)


def _convolutions(operation: int, inputs: int, outputs: int, stride: int, where: str) -> tuple[Convolution, ...]:
    """The convolutions of a layer. The depthwise-separable operation has two, all others one."""
    if operation == POINTWISE:
        return (Convolution(inputs, outputs, 1, stride),)
    if operation == 6:
        return (Convolution(inputs, inputs, 3, stride, inputs), Convolution(inputs, outputs, 1))
    if operation == 5 and (inputs % GROUP_CHANNELS or outputs % GROUP_CHANNELS):
        raise InvalidArchitecture(
            f"{where}: operation 5 needs multiples of {GROUP_CHANNELS} channels, but reads {inputs} and gives "
            f"{outputs}; write another operation, width or first channel"
        )
    groups = {0: 1, 2: 2, 3: 4, 4: inputs, 5: inputs // GROUP_CHANNELS}[operation]
    if inputs % groups or outputs % groups:
        raise InvalidArchitecture(
            f"{where}: operation {operation} has {groups} groups here, which do not divide its {inputs} input and "
            f"{outputs} output channels; write another operation, width or first channel"
        )
    return (Convolution(inputs, outputs, 3, stride, groups),)


@lru_cache(maxsize=65_536)
def _operation_fits(operation: int, inputs: int, outputs: int) -> bool:
    try:
        _convolutions(operation, inputs, outputs, 1, "")
    except InvalidArchitecture:
        return False
    return True


def is_valid_block(block: Block, inputs: int, multipliers: tuple[int, ...] = MULTIPLIERS) -> bool:
    """Whether all widths are whole and all groups divide, for each of the channel multipliers.

    The answer of :func:`wire_block`, without the plan: a search asks this some 10^5 times.
    """
    return all(_channels_fit(block, inputs, inputs * multiplier) for multiplier in multipliers)


def _channels_fit(block: Block, inputs: int, outputs: int) -> bool:
    channels = [inputs]
    for number, layer in enumerate(block.layers, start=1):
        width, rest = divmod(outputs * 2**layer.width, 4)
        if rest or not _operation_fits(layer.operation, channels[-1], width):
            return False
        concatenated = (c.source for c in block.connections if c.kind == "c" and c.target == number)
        channels.append(width + sum(channels[source] for source in concatenated))
    return True


def check_macro(macro: Macro) -> None:
    """Check that there are four stages, each with a block, and no unknown multiplier.

    Raises:
        InvalidArchitecture: With the stage that breaks a rule.
    """
    if len(macro.stages) != STAGES:
        raise InvalidArchitecture(
            f"the macro structure has {len(macro.stages)} stages; write {STAGES}, separated by exactly three '-'"
        )
    for stage, multipliers in enumerate(macro.stages, start=1):
        if not multipliers:
            raise InvalidArchitecture(f"stage {stage} has no block; write at least one multiplier (1, 2 or 4)")
        for number, multiplier in enumerate(multipliers, start=1):
            if multiplier not in MULTIPLIERS:
                raise InvalidArchitecture(
                    f"stage {stage}, block {number}: multiplier {multiplier} is unknown; write 1, 2 or 4"
                )


def check_channels(architecture: Architecture) -> None:
    """Check every channel number of a network whose block and macro structure are well-formed.

    Raises:
        InvalidArchitecture: With the stage, block and layer that break a rule.
    """
    first = architecture.first_channels
    if not 2 <= first <= MAX_FIRST_CHANNELS or first % 2:
        raise InvalidArchitecture(
            f"first channel {first}: write an even number of 2 to {MAX_FIRST_CHANNELS}; the stem has half of it"
        )
    for placement in placements(architecture):
        try:
            wire_block(architecture.block, placement.inputs, placement.outputs)
        except InvalidArchitecture as error:
            raise InvalidArchitecture(f"stage {placement.stage}, block {placement.number}, {error}") from None


def final_channels(architecture: Architecture) -> int:
    """Channels that the classifier reads."""
    channels = architecture.first_channels
    for multiplier in architecture.macro.multipliers:
        channels *= multiplier
    return channels


def downsampled(resolution: int, stride: int) -> int:
    """The resolution after a stride, rounded up as the padding makes it."""
    return -(-resolution // stride)
