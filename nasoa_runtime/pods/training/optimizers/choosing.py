"""From a network and what its regime says to the optimiser: which parameters are treated alike, and how."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from nasoa_runtime.architecture.structure import HEAD_ONLY
from nasoa_runtime.boundary import OptimizerName
from nasoa_runtime.pods.networks.freezing import levels_of
from nasoa_runtime.pods.training.optimizers.adamw import AdamW
from nasoa_runtime.pods.training.optimizers.base import Group, Optimizer
from nasoa_runtime.pods.training.optimizers.sgd import Sgd


def optimizer_for(
    model: nn.Module,
    name: OptimizerName = "sgd",
    *,
    learning_rate: float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    layer_decay: float = 1.0,
) -> Optimizer:
    """An optimiser over what is not frozen.

    Args:
        model: Frozen already, as it is to be.
        name: Which one.
        learning_rate: Of the classifier, and of everything without layer decay.
        momentum: SGD's, or AdamW's first beta.
        weight_decay: Of matrices and kernels; biases and normalisation are not decayed.
        layer_decay: The learning rate falls by this factor from the classifier to the last stage, and with each stage
            before it down to the stem (after BEiT, arXiv 2106.08254, by stage instead of layer).
    """
    groups = list(groups_of(model, weight_decay, layer_decay))
    if name == "adamw":
        return AdamW(groups, learning_rate, momentum)
    return Sgd(groups, learning_rate, momentum)


def groups_of(model: nn.Module, weight_decay: float, layer_decay: float = 1.0) -> Iterator[Group]:
    """Groups by stage from the stem on, each one's matrices before its biases; all in one without layer decay."""
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if layer_decay == 1:
        yield from _halves(list(trained.values()), weight_decay, 1.0)
        return
    levels = levels_of(model)
    for level in range(HEAD_ONLY + 1):
        members = [parameter for name, parameter in trained.items() if levels[name] == level]
        yield from _halves(members, weight_decay, layer_decay ** (HEAD_ONLY - level))


def _halves(parameters: Sequence[Tensor], weight_decay: float, rate_scale: float) -> Iterator[Group]:
    yield Group([parameter for parameter in parameters if parameter.ndim > 1], weight_decay, rate_scale)
    yield Group([parameter for parameter in parameters if parameter.ndim <= 1], 0.0, rate_scale)
