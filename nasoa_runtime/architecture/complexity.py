"""Parameters, multiply-accumulates and activations of an architecture, from its string alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from nasoa_runtime.architecture.encoding import canonical, parse
from nasoa_runtime.architecture.structure import Architecture
from nasoa_runtime.architecture.wiring import (
    Convolution,
    Placement,
    downsampled,
    final_channels,
    placements,
    wire_block,
    wire_stem,
)


@dataclass(frozen=True)
class StageSummary:
    """One stage: its blocks, and the channels and resolution (pixels a side) that it gives."""

    blocks: int
    channels: int
    resolution: int


@dataclass(frozen=True)
class Complexity:
    """What a network costs for one image."""

    parameters: int
    """Weights of convolutions and classifier, its bias, and scale and shift of every BatchNorm."""
    macs: int
    """Multiply-accumulates of convolutions and classifier."""
    activations: int
    """Output elements of all convolutions."""
    depth: int
    """Number of blocks."""
    stages: tuple[StageSummary, ...]


@dataclass(frozen=True)
class _Cost:
    parameters: int = 0
    macs: int = 0
    activations: int = 0

    def __add__(self, other: _Cost) -> _Cost:
        return _Cost(self.parameters + other.parameters, self.macs + other.macs, self.activations + other.activations)


def _convolution_cost(convolution: Convolution, resolution: int) -> _Cost:
    """Cost of a convolution that reads ``resolution`` pixels a side."""
    positions = downsampled(resolution, convolution.stride) ** 2
    return _Cost(convolution.weights, convolution.weights * positions, convolution.outputs * positions)


def _norm_cost(channels: int) -> _Cost:
    """Scale and shift of a BatchNorm; its arithmetic is not counted."""
    return _Cost(2 * channels)


def complexity(
    architecture: str | Architecture,
    image_size: int = 224,
    classes: int = 1000,
    low_resolution_stem: bool = False,
) -> Complexity:
    """Count what the built network would have, exactly.

    Args:
        architecture: An encoding, or the value it names.
        image_size: Pixels a side of the square input.
        classes: Outputs of the classifier.
        low_resolution_stem: Whether the stem goes without its two strides.

    Raises:
        InvalidArchitecture: If an encoding breaks a rule.
        ValueError: If image size or classes are less than 1.
    """
    value = parse(architecture) if isinstance(architecture, str) else architecture
    if image_size < 1 or classes < 1:
        raise ValueError(f"image size {image_size} and classes {classes} must be at least 1")
    resolution, total = image_size, _Cost()
    for convolution in wire_stem(value.first_channels, low_resolution=low_resolution_stem):
        total += _convolution_cost(convolution, resolution) + _norm_cost(convolution.outputs)
        resolution = downsampled(resolution, convolution.stride)
    stages: dict[int, StageSummary] = {}
    for placement in placements(value):
        for cost in _block_costs(value, placement, resolution):
            total += cost
        resolution = downsampled(resolution, placement.stride)
        stages[placement.stage] = StageSummary(placement.number, placement.outputs, resolution)
    features = final_channels(value)
    total += _Cost(features * classes + classes, features * classes)
    return Complexity(total.parameters, total.macs, total.activations, value.macro.depth, tuple(stages.values()))


def _block_costs(architecture: Architecture, placement: Placement, resolution: int) -> Iterator[_Cost]:
    """Costs of a block's layers and projections; ``resolution`` is that of its input."""
    resolutions = [resolution]
    for node in wire_block(architecture.block, placement.inputs, placement.outputs, placement.stride):
        size = resolutions[-1]
        for convolution in node.convolutions:
            yield _convolution_cost(convolution, size)
            size = downsampled(size, convolution.stride)
        yield _norm_cost(node.convolutions[-1].outputs)
        for join in node.joins:
            if join.projection:
                yield _convolution_cost(join.projection, resolutions[join.connection.source])
                yield _norm_cost(join.projection.outputs)
        resolutions.append(size)


def describe(
    encoding: str, image_size: int = 224, classes: int = 1000, low_resolution_stem: bool = False
) -> dict[str, Any]:
    """What ``nasoa arch describe`` prints: the canonical encoding and its complexity, ready for JSON.

    Raises:
        InvalidArchitecture: If the encoding breaks a rule.
    """
    return {"encoding": canonical(encoding)} | asdict(complexity(encoding, image_size, classes, low_resolution_stem))
