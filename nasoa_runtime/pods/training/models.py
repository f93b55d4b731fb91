"""Building networks from their names, loading their weights without running code, and freezing their first stages."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any, Protocol, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from nasoa_runtime.pods.failures import BadInputError
from nasoa_runtime.pods.network import build
from nasoa_runtime.pods.pod import blaming, retrying
from nasoa_runtime.storage.s3 import ObjectStore

HEAD_ONLY = 5
"""Frozen stages at which only the classifier is trained."""
NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}")


class _Freezable(Protocol):
    def freeze(self, frozen_stages: int) -> object: ...


def build_model(architecture: str, classes: int, *, low_resolution_stem: bool = False) -> nn.Module:
    """Build a network with fresh weights.

    Args:
        architecture: An encoding, ``timm:NAME`` or ``torchvision:NAME``.
        classes: Outputs of the classifier.
        low_resolution_stem: No strides in the stem; encodings only.

    Raises:
        BadInputError: No such architecture.
    """
    kind, _, name = architecture.rpartition(":")
    if kind and not NAME.fullmatch(name):
        msg = f"architecture: {name!r} is not a model name: use letters, digits, '_', '.' and '-'."
        raise BadInputError(msg)
    if kind == "timm":
        return _build_timm(name, classes)
    if kind == "torchvision":
        return _build_torchvision(name, classes)
    if kind:
        msg = f"architecture: {architecture!r} has an unknown source: write an encoding, timm:NAME or torchvision:NAME."
        raise BadInputError(msg)
    try:
        return build(architecture, classes, low_resolution_stem=low_resolution_stem)
    except ValueError as error:
        msg = f"architecture: {error}"
        raise BadInputError(msg) from error


def _build_timm(name: str, classes: int) -> nn.Module:
    import timm  # noqa: PLC0415 - takes seconds, and most pods never need it

    if not timm.is_model(name):
        msg = f"architecture: timm has no model {name!r}: see timm.list_models()."
        raise BadInputError(msg)
    return cast("nn.Module", timm.create_model(name, pretrained=False, num_classes=classes))


def _build_torchvision(name: str, classes: int) -> nn.Module:
    import torchvision  # noqa: PLC0415 - as above

    if name not in torchvision.models.list_models(module=torchvision.models):
        msg = f"architecture: torchvision has no classifier {name!r}: see torchvision.models.list_models()."
        raise BadInputError(msg)
    return cast("nn.Module", torchvision.models.get_model(name, weights=None, num_classes=classes))


def head_of(model: nn.Module) -> tuple[str, nn.Module]:
    """Name and module of the classifier: what timm says it is, else the last linear layer."""
    known = cast("Callable[[], Any] | None", getattr(model, "get_classifier", None))
    wanted = known() if known is not None else None
    found: tuple[str, nn.Module] | None = None
    for name, module in model.named_modules():
        if wanted is not None and module is wanted:
            return name, module
        if isinstance(module, nn.Linear):
            found = (name, module)
    if found is None:
        msg = "architecture: the network has no classifier to replace."
        raise BadInputError(msg)
    return found


def load_weights(model: nn.Module, content: bytes, *, keep_head: bool = True) -> bool:
    """Load safetensors into ``model``; a classifier of another size keeps its fresh weights.

    Args:
        model: Built with :func:`build_model`.
        content: The file.
        keep_head: Whether to load a classifier that fits; ``False`` for other classes, however many there are.

    Returns:
        Whether the classifier was loaded too.

    Raises:
        BadInputError: The content is not safetensors, or not of this architecture.
    """
    try:
        tensors = load_safetensors(content)
    except (SafetensorError, ValueError) as error:
        msg = f"weights: not a safetensors file ({error})."
        raise BadInputError(msg) from error
    wanted = model.state_dict()
    head = head_of(model)[0] + "."
    replaced = not keep_head or any(key.startswith(head) and _differs(tensors.get(key), wanted[key]) for key in wanted)
    if replaced:
        tensors = {key: tensor for key, tensor in tensors.items() if not key.startswith(head)}
    # Counters of batches seen are optional: not every exporter writes them.
    needed = {
        key for key in wanted if not key.endswith("num_batches_tracked") and not (replaced and key.startswith(head))
    }
    problems = sorted(needed - tensors.keys()) + sorted(tensors.keys() - wanted.keys())
    problems += [key for key in sorted(needed & tensors.keys()) if _differs(tensors[key], wanted[key])]
    if problems:
        msg = f"weights: not of this architecture, {len(problems)} tensors differ, the first is {problems[0]!r}."
        raise BadInputError(msg)
    model.load_state_dict(tensors, strict=False)
    return not replaced


def _differs(found: Tensor | None, wanted: Tensor) -> bool:
    return found is None or found.shape != wanted.shape


def fetch_weights(store: ObjectStore, uri: str, expected_digest: str) -> bytes:
    """Read weights and check their SHA-256 before anything looks into them.

    Raises:
        BadInputError: They are missing or other than named.
    """
    with blaming("zoo"):
        found = retrying(lambda: store.get(uri))
    if found is None:
        msg = f"zoo: there is no object {uri}: its manifest names weights that are gone; publish them again."
        raise BadInputError(msg)
    actual = hashlib.sha256(found.body).hexdigest()
    if actual != expected_digest:
        msg = f"zoo: {uri} has digest {actual[:12]}, not {expected_digest[:12]}: the object was changed."
        raise BadInputError(msg)
    return found.body


def freeze(model: nn.Module, frozen_stages: int) -> None:
    """Freeze the first stages: 0 none, 1 the stem, k the stem and stages up to k - 1, 5 all but the head."""
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    if frozen_stages == 0:
        return
    if hasattr(model, "freeze"):
        cast("_Freezable", model).freeze(frozen_stages)
        return
    head = head_of(model)[1]
    order = list(model.named_modules())
    last = _last_frozen(model, order, frozen_stages)
    for number, (_, module) in enumerate(order):
        if number <= last:
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
    for parameter in head.parameters():
        parameter.requires_grad_(True)


def _last_frozen(model: nn.Module, order: list[tuple[str, nn.Module]], frozen_stages: int) -> int:
    """Position in ``order`` (the order of the forward pass) of the last module to freeze."""
    stages = _stages(model, order)
    if frozen_stages >= HEAD_ONLY:
        return len(order) - 1
    # Networks that name five feature levels count their stem's as the first; with fewer, the stem is what comes before.
    if len(stages) == HEAD_ONLY:
        return _end_of(order, stages[frozen_stages - 1])
    first = next(number for number, (name, _) in enumerate(order) if name == stages[0])
    ends = [first - 1, *(_end_of(order, name) for name in _four_of(stages))]
    return ends[frozen_stages - 1]


def _four_of(stages: list[str]) -> list[str]:
    """Four stages of equally many levels, for networks (such as transformers) that have another number of them."""
    return [stages[max(round(len(stages) * quarter / 4), 1) - 1] for quarter in (1, 2, 3, 4)]


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
        output = torch.zeros(1, 3, 128, 128)
        for name, child in features.named_children():
            output = child(output)
            ends[tuple(output.shape[-2:])] = f"features.{name}"
    features.train(was_training)
    return list(ends.values())[-HEAD_ONLY:]


def train_mode(model: nn.Module) -> None:
    """Training mode, except that BatchNorm of frozen stages keeps its running statistics."""
    model.train()
    for module in model.modules():
        parameters = list(module.parameters(recurse=False))
        if isinstance(module, nn.modules.batchnorm._NormBase) and parameters:  # noqa: SLF001 - the one common base
            module.train(any(parameter.requires_grad for parameter in parameters))
