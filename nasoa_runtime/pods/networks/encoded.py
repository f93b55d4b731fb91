"""The network that an encoding names, in torch.

It is built from the same plan as :mod:`nasoa_runtime.architecture.complexity` counts, so figures and network agree.
Modules of connections are named after them (``a02``), so two spellings of one network have the same state.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasoa_runtime.architecture.encoding import Architecture, parse, validate
from nasoa_runtime.architecture.structure import STAGES, Block
from nasoa_runtime.architecture.wiring import (
    Convolution,
    Node,
    Placement,
    final_channels,
    placements,
    wire_block,
    wire_stem,
)


def _convolution(plan: Convolution) -> nn.Conv2d:
    padding = plan.kernel // 2
    return nn.Conv2d(plan.inputs, plan.outputs, plan.kernel, plan.stride, padding, groups=plan.groups, bias=False)


def _normalised(*plans: Convolution) -> nn.Sequential:
    """Convolutions, then one BatchNorm."""
    return nn.Sequential(*map(_convolution, plans), nn.BatchNorm2d(plans[-1].outputs))


class NodeModule(nn.Module):
    """A layer of a block, what joins it, and the ReLU."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.layer = _normalised(*node.convolutions)
        self.projections = nn.ModuleDict(
            {str(join.connection): _normalised(join.projection) for join in node.joins if join.projection}
        )
        self._joins = tuple((str(j.connection), j.connection.kind, j.connection.source) for j in node.joins)

    def forward(self, nodes: list[Tensor]) -> Tensor:
        """Compute the node after the given ones, the block's input first; all are (batch, channels, height, width)."""
        value: Tensor = self.layer(nodes[-1])
        for name, kind, source in self._joins:
            other = nodes[source]
            if name in self.projections:
                other = self.projections[name](other)
            value = value + other if kind == "a" else torch.cat((other, value), dim=1)
        # In place: neither BatchNorm, nor a sum, nor a concatenation needs its output to go backward.
        return F.relu(value, inplace=True)


class BlockModule(nn.Module):
    """One block of the network."""

    def __init__(self, block: Block, placement: Placement) -> None:
        super().__init__()
        plan = wire_block(block, placement.inputs, placement.outputs, placement.stride)
        self.nodes = nn.ModuleList(map(NodeModule, plan))

    def forward(self, value: Tensor) -> Tensor:
        """Map (batch, inputs, height, width) to (batch, outputs, height / stride, width / stride), rounded up."""
        nodes = [value]
        for node in self.nodes:
            nodes.append(node(nodes))
        return nodes[-1]


class Network(nn.Module):
    """An architecture with a classifier: ``stem``, ``stages``, ``classifier``."""

    frozen_stages = 0
    """Leading parts, stem and stages, that record no gradients; :func:`~nasoa_runtime.pods.networks.freezing.freeze`
    sets it."""

    def __init__(self, architecture: Architecture, classes: int, *, low_resolution_stem: bool = False) -> None:
        super().__init__()
        self.architecture = architecture
        self.num_features = final_channels(architecture)
        stem = wire_stem(architecture.first_channels, low_resolution=low_resolution_stem)
        self.stem = nn.Sequential(*(layer for plan in stem for layer in (*_normalised(plan), nn.ReLU(inplace=True))))
        stages: list[list[BlockModule]] = [[] for _ in range(STAGES)]
        for placement in placements(architecture):
            stages[placement.stage - 1].append(BlockModule(architecture.block, placement))
        self.stages = nn.ModuleList(nn.Sequential(*blocks) for blocks in stages)
        self.classifier = nn.Linear(self.num_features, classes)
        self._initialise()

    def _initialise(self) -> None:
        """Kaiming normal by fan-out for convolutions; BatchNorm starts from 1 and 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)

    def _parts(self) -> tuple[nn.Module, ...]:
        """Stem and stages, in their order."""
        return (self.stem, *self.stages)

    @property
    def feature_info(self) -> list[dict[str, str]]:
        """The modules at which the stem and each stage end, told in the way of timm's networks."""
        return [{"module": "stem"}, *({"module": f"stages.{number}"} for number in range(STAGES))]

    def forward_features(self, images: Tensor) -> Tensor:
        """Map (batch, 3, height, width) to the last stage's (batch, num_features, height', width')."""
        parts = self._parts()
        value = images
        if self.frozen_stages:
            with torch.no_grad():
                for part in parts[: self.frozen_stages]:
                    value = part(value)
        for part in parts[self.frozen_stages :]:
            value = part(value)
        return value

    def forward(self, images: Tensor) -> Tensor:
        """Map (batch, 3, height, width) to logits (batch, classes)."""
        features = F.adaptive_avg_pool2d(self.forward_features(images), 1).flatten(1)
        logits: Tensor = self.classifier(features)
        return logits


def build(architecture: str | Architecture, classes: int = 1000, low_resolution_stem: bool = False) -> Network:
    """Build and initialise a network from torch's global random state.

    Args:
        architecture: An encoding, or the value it names.
        classes: Outputs of the classifier.
        low_resolution_stem: Whether the stem goes without its two strides, for images of 32 x 32 and less.

    Raises:
        InvalidArchitecture: If the architecture breaks a rule.
    """
    value = parse(architecture) if isinstance(architecture, str) else architecture
    validate(value)
    return Network(value, classes, low_resolution_stem=low_resolution_stem)
