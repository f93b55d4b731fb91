"""Bringing foreign weights in: matched to the network that they are said to be of, and written as safetensors."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from nasoa_runtime.boundary import Preprocessing
from nasoa_runtime.pods.failures import BadInputError
from nasoa_runtime.pods.networks.building import build_model, head_of
from nasoa_runtime.pods.networks.counting import complexity_of
from nasoa_runtime.storage.imports import ImportedNetwork

WRAPPERS = ("state_dict", "model", "model_state_dict")
"""Keys under which training programs put the weights in their checkpoints."""
COUNTER = "num_batches_tracked"
CLASSIFIERS = {"classifier", "fc", "head", "head.fc"}
"""Names of the last layer in timm's and torchvision's networks."""


def prepare(
    architecture: str,
    weights: Path,
    image_size: int,
    *,
    class_names: tuple[str, ...] = (),
    class_count: int | None = None,
    low_resolution_stem: bool = False,
    extractor: bool = False,
) -> ImportedNetwork:
    """Read weights, match them to the architecture, and count what the network costs.

    Args:
        architecture: an encoding, ``timm:NAME`` or ``torchvision:NAME``.
        weights: a ``.safetensors`` file, or a ``.pt`` or ``.pth`` file of tensors.
        image_size: pixels a side.
        class_names: names of the classes in the order of the outputs, where they are known.
        class_count: number of outputs where no names are given; ``None`` asks the weights.
        low_resolution_stem: whether an encoding's stem goes without its strides.
        extractor: whether the network is to be used without its head, which it must then have.

    Raises:
        BadInputError: the file can't be read, its weights are of another network, or there is no such architecture.
    """
    found = read_weights(weights)
    count = len(class_names) or class_count or outputs_of(found)
    model = build_model(architecture, count, low_resolution_stem=low_resolution_stem)
    if extractor:
        head_of(model)
    tensors = matched(found, model.state_dict(), weights)
    model.load_state_dict(tensors)
    cost = complexity_of(model, image_size)
    return ImportedNetwork(
        architecture=architecture,
        weights=save({name: tensor.contiguous().clone() for name, tensor in tensors.items()}),
        class_count=count,
        class_names=class_names,
        preprocessing=preprocessing_of(model, image_size),
        low_resolution_stem=low_resolution_stem,
        parameters=cost.parameters,
        macs=cost.macs,
    )


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, in its order; nothing in it is executed.

    Raises:
        BadInputError: it has something else than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        msg = f"{path}: not a safetensors file: {error}"
        raise BadInputError(msg) from error
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError) as error:
        # What torch says of it is advice to run the code.
        msg = f"{path}: has no weights that can be read without running code: save model.state_dict(), not the model"
        raise BadInputError(msg) from error
    for key in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        msg = f"{path}: write a file of tensors by name, as model.state_dict() gives them"
        raise BadInputError(msg)
    return {str(name): tensor.detach() for name, tensor in content.items()}


def matched(found: dict[str, Tensor], wanted: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """``found`` under the names of ``wanted``: by name where the names agree, else by order and shape.

    Networks that were ported between libraries keep the order of their layers, and often nothing of their names.

    Raises:
        BadInputError: neither fits.
    """
    if set(found) | {key for key in wanted if key.endswith(COUNTER)} == set(wanted):
        pairs = {name: found.get(name, wanted[name]) for name in wanted}
    elif path.suffix == ".safetensors":
        # Its tensors are sorted by type and name: by order, equal shapes would change places unseen.
        differing = min(set(found) ^ set(wanted))
        msg = (
            f"{path}: the names of its tensors differ from the architecture's, first {differing!r}: give the .pth file"
        )
        raise BadInputError(msg)
    else:
        # Counters of batches are left out: not every library has them, and fine-tuning does not read them.
        ours = [name for name in wanted if not name.endswith(COUNTER)]
        theirs = [tensor for name, tensor in found.items() if not name.endswith(COUNTER)]
        if len(ours) != len(theirs):
            msg = f"{path}: has {len(theirs)} tensors, but the architecture {len(ours)}: it is of another network"
            raise BadInputError(msg)
        pairs = dict(wanted) | dict(zip(ours, theirs, strict=True))
    for name, tensor in pairs.items():
        if tensor.shape != wanted[name].shape:
            msg = (
                f"{path}: tensor {name} has shape {tuple(tensor.shape)}, but the architecture "
                f"{tuple(wanted[name].shape)}: it is of another network, or of another number of classes"
            )
            raise BadInputError(msg)
    return {name: tensor.to(wanted[name].dtype) for name, tensor in pairs.items()}


def outputs_of(tensors: dict[str, Tensor]) -> int:
    """Outputs of the classifier: the one matrix among the tensors, or the one that is called so.

    Raises:
        BadInputError: there is none or more than one.
    """
    matrices = {name: tensor for name, tensor in tensors.items() if tensor.dim() == 2}
    if len(matrices) > 1:
        named = {name.rpartition(".")[0] for name in matrices} & CLASSIFIERS
        matrices = {name: tensor for name, tensor in matrices.items() if name.rpartition(".")[0] in named}
    if len(matrices) != 1:
        msg = "the weights don't tell the number of classes: give --classes"
        raise BadInputError(msg)
    return int(next(iter(matrices.values())).shape[0])


def preprocessing_of(model: nn.Module, image_size: int) -> Preprocessing:
    """How images are prepared: what timm knows of the network, ImageNet's usual figures otherwise."""
    known: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    default = Preprocessing(image_size=image_size)
    interpolation = known.get("interpolation")
    return Preprocessing(
        image_size=image_size,
        mean=known.get("mean", default.mean),
        std=known.get("std", default.std),
        interpolation="bicubic" if interpolation == "bicubic" else "bilinear",
    )
