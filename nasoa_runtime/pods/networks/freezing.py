"""The stages of any network: which parts these are, and how the first ones are frozen while the others are trained.

Frozen parts have no gradients and stay in evaluation mode, so that BatchNorm keeps its statistics.
"""

from __future__ import annotations

import torch
from torch import nn

from nasoa_runtime.architecture.structure import HEAD_ONLY, STAGES
from nasoa_runtime.pods.networks.building import head_of
from nasoa_runtime.pods.networks.encoded import Network


def freeze(model: nn.Module, frozen_stages: int) -> None:
    """Leave the first stages as they are from now on; the others are trained.

    Args:
        model: Built with :func:`~nasoa_runtime.pods.networks.building.build_model`.
        frozen_stages: 0 trains everything, 1 freezes the stem, k the stem and the stages up to k - 1; the highest
            leaves only the classifier.

    Raises:
        ValueError: There is no such number of stages.
    """
    if not 0 <= frozen_stages <= HEAD_ONLY:
        msg = f"{frozen_stages} frozen stages: write 0 (none) to {HEAD_ONLY} (all but the classifier)"
        raise ValueError(msg)
    model.requires_grad_(True)
    if isinstance(model, Network):
        model.frozen_stages = frozen_stages
    if frozen_stages:
        order = list(model.named_modules())
        for _, module in order[: _last_frozen(model, order, frozen_stages) + 1]:
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
        head_of(model)[1].requires_grad_(True)
    if model.training:
        train_mode(model)


def levels_of(model: nn.Module) -> dict[str, int]:
    """Where each parameter stands: 0 in the stem, 1 to 4 in a stage, 5 in the classifier.

    What comes after the last stage, but is not the classifier, counts as part of that stage: it is pretrained.
    So level k is what :func:`freeze` freezes with k + 1 frozen stages and not with k.
    """
    order = list(model.named_modules())
    head, _ = head_of(model)
    ends = [_last_frozen(model, order, frozen_stages) for frozen_stages in range(1, HEAD_ONLY)]
    levels: dict[str, int] = {}
    for place, (prefix, module) in enumerate(order):
        level = next((level for level, end in enumerate(ends) if place <= end), STAGES)
        for name, _ in module.named_parameters(prefix, recurse=False):
            levels[name] = HEAD_ONLY if name.startswith(head + ".") else level
    return levels


def train_mode(model: nn.Module) -> None:
    """Training mode, but evaluation mode for whatever has parameters and none that is trained."""
    model.train()
    for module in model.modules():
        trained = [parameter.requires_grad for parameter in module.parameters()]
        if trained and not any(trained):
            module.eval()


def _last_frozen(model: nn.Module, order: list[tuple[str, nn.Module]], frozen_stages: int) -> int:
    """Position in ``order`` (the order of the forward pass) of the last module to freeze."""
    stages = _stages(model, order)
    if frozen_stages >= HEAD_ONLY:
        return len(order) - 1
    # Networks that name a level more than there are stages count their stem's as the first; of others the stem is what
    # comes before.
    if len(stages) == HEAD_ONLY:
        return _end_of(order, stages[frozen_stages - 1])
    first = next(number for number, (name, _) in enumerate(order) if name == stages[0])
    ends = [first - 1, *(_end_of(order, name) for name in _four_of(stages))]
    return ends[frozen_stages - 1]


def _four_of(stages: list[str]) -> list[str]:
    """Four stages of equally many levels, for networks (such as transformers) that have another number of them."""
    return [stages[max(round(len(stages) * quarter / STAGES), 1) - 1] for quarter in range(1, STAGES + 1)]


def _end_of(order: list[tuple[str, nn.Module]], stage: str) -> int:
    return max(number for number, (name, _) in enumerate(order) if name == stage or name.startswith(stage + "."))


def _stages(model: nn.Module, order: list[tuple[str, nn.Module]]) -> list[str]:
    """Names of the modules at which a stage ends, in order; the network's top-level parts where nothing says more."""
    information = getattr(model, "feature_info", None)
    if information:
        return [str(level["module"]) for level in information]
    names = [name for name, _ in order]
    if "layer1" in names:
        return [name for name in ("layer1", "layer2", "layer3", "layer4") if name in names]
    features = getattr(model, "features", None)
    if isinstance(features, nn.Sequential):
        return _stages_by_resolution(features)
    for trunk in ("trunk_output", "encoder.layers", "blocks"):
        if trunk in names:
            return [f"{trunk}.{name}" for name, _ in model.get_submodule(trunk).named_children()]
    return [name for name, _ in model.named_children()]


def _stages_by_resolution(features: nn.Sequential) -> list[str]:
    """The last child of ``features`` at each resolution, found by passing an image through."""
    was_training = features.training
    features.eval()
    ends: dict[tuple[int, ...], str] = {}
    with torch.inference_mode():
        output = torch.zeros(1, 3, 128, 128, device=next(features.parameters()).device)
        for name, child in features.named_children():
            output = child(output)
            ends[tuple(output.shape[-2:])] = f"features.{name}"
    features.train(was_training)
    return list(ends.values())[-HEAD_ONLY:]
