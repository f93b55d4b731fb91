"""Complexity as any torch module really has it, seen by hooks in one forward pass.

``torch.utils.flop_counter`` would count MACs too, but neither activations nor without the products of attention.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class MeasuredComplexity:
    """What a module costs for one image; the same quantities as those of an encoding."""

    parameters: int
    macs: int
    """Multiply-accumulates of convolutions and linear layers."""
    activations: int
    """Output elements of all convolutions."""


def complexity_of(module: nn.Module, image_size: int) -> MeasuredComplexity:
    """Run one blank image of (3, image_size, image_size) through a module, in evaluation mode, and count.

    Mode and BatchNorm statistics of the module are left as they were.
    """
    macs = activations = 0

    def count(layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs, activations
        if isinstance(layer, nn.Conv2d):
            macs += output[0, 0].numel() * layer.weight.numel()
            activations += output.numel()
        elif isinstance(layer, nn.Linear):
            macs += layer.weight.numel() * (output.numel() // layer.out_features)

    layers = [layer for layer in module.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    handles = [layer.register_forward_hook(count) for layer in layers]
    first = next(module.parameters())
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            module(torch.zeros(1, 3, image_size, image_size, device=first.device, dtype=first.dtype))
    finally:
        for handle in handles:
            handle.remove()
        for part, training in modes.items():
            part.training = training
    return MeasuredComplexity(sum(parameter.numel() for parameter in module.parameters()), macs, activations)
