"""Building networks from the names of their architectures, and finding their classifiers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

from torch import nn

from nasoa_runtime.pods.failures import BadInputError
from nasoa_runtime.pods.networks.encoded import build

NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}")


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
