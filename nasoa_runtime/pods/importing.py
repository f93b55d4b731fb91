"""Bringing foreign weights in: matched to the network that they are said to be of, and written as safetensors.

The one module of the command line that builds networks.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from nasoa_runtime.boundary import Extractor, Precision, Preprocessing, digest
from nasoa_runtime.cli.common import RefusedError
from nasoa_runtime.cli.zoos import CLASS_NAMES_KEPT
from nasoa_runtime.documents.base import UnreadableDocumentError, dump
from nasoa_runtime.documents.keys import extractor_key, extractor_weights_key
from nasoa_runtime.documents.zoo import RegisteredExtractor
from nasoa_runtime.pods.training.models import build_model, head_of
from nasoa_runtime.storage.s3 import ObjectStore
from nasoa_runtime.storage.zoo import ZooModel, weights_uri

WRAPPERS = ("state_dict", "model", "model_state_dict")
"""Keys under which training programs put the weights in their checkpoints."""
COUNTER = "num_batches_tracked"
CLASSIFIERS = {"classifier", "fc", "head", "head.fc"}
"""Names of the last layer in timm's and torchvision's networks."""


@dataclass(frozen=True)
class Prepared:
    """A network's weights, ready to be stored."""

    architecture: str
    body: bytes
    """Safetensors."""
    class_count: int
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    low_resolution_stem: bool
    parameters: int
    macs: int

    @property
    def digest(self) -> str:
        """SHA-256 of the body."""
        return digest(self.body)


def prepare(
    architecture: str, weights: Path, classes: str | None, image_size: int, *, low_resolution_stem: bool = False
) -> Prepared:
    """Read weights, match them to the architecture, and count what the network costs.

    Args:
        architecture: an encoding, ``timm:NAME`` or ``torchvision:NAME``.
        weights: a ``.safetensors`` file, or a ``.pt`` or ``.pth`` file of tensors.
        classes: number of outputs, or a file with a class name a line; ``None`` asks the weights.
        image_size: pixels a side.
        low_resolution_stem: whether an encoding's stem goes without its strides.

    Raises:
        RefusedError: the file can't be read, or its weights are of another network.
    """
    found = read_weights(weights)
    names = class_names(classes)
    count = len(names) or (int(classes) if classes else outputs_of(found))
    model = build_model(architecture, count, low_resolution_stem=low_resolution_stem)
    wanted = model.state_dict()
    tensors = matched(found, wanted, weights)
    model.load_state_dict(tensors)
    return Prepared(
        architecture=architecture,
        body=save({name: tensor.contiguous().clone() for name, tensor in tensors.items()}),
        class_count=count,
        class_names=names,
        preprocessing=preprocessing_of(model, image_size),
        low_resolution_stem=low_resolution_stem,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        macs=count_macs(model, image_size),
    )


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, in its order; nothing in it is executed.

    Raises:
        RefusedError: it has something else than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        msg = f"{path}: no weights that can be read without running code: {first}"
        raise RefusedError(msg) from error
    for key in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        msg = f"{path}: write a file of tensors by name, as model.state_dict() gives them"
        raise RefusedError(msg)
    return {str(name): tensor.detach() for name, tensor in content.items()}


def matched(found: dict[str, Tensor], wanted: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """``found`` under the names of ``wanted``: by name where the names agree, else by order and shape.

    Networks that were ported between libraries keep the order of their layers, and often nothing of their names.

    Raises:
        RefusedError: neither fits.
    """
    if set(found) | {key for key in wanted if key.endswith(COUNTER)} == set(wanted):
        pairs = {name: found.get(name, wanted[name]) for name in wanted}
    elif path.suffix == ".safetensors":
        # Its tensors are sorted by type and name: by order, equal shapes would change places unseen.
        differing = min(set(found) ^ set(wanted))
        msg = (
            f"{path}: the names of its tensors differ from the architecture's, first {differing!r}: give the .pth file"
        )
        raise RefusedError(msg)
    else:
        # Counters of batches are left out: not every library has them, and fine-tuning does not read them.
        ours = [name for name in wanted if not name.endswith(COUNTER)]
        theirs = [tensor for name, tensor in found.items() if not name.endswith(COUNTER)]
        if len(ours) != len(theirs):
            msg = f"{path}: has {len(theirs)} tensors, but the architecture {len(ours)}: it is of another network"
            raise RefusedError(msg)
        pairs = dict(wanted) | dict(zip(ours, theirs, strict=True))
    for name, tensor in pairs.items():
        if tensor.shape != wanted[name].shape:
            msg = (
                f"{path}: tensor {name} has shape {tuple(tensor.shape)}, but the architecture "
                f"{tuple(wanted[name].shape)}: it is of another network, or of another number of classes"
            )
            raise RefusedError(msg)
    return {name: tensor.to(wanted[name].dtype) for name, tensor in pairs.items()}


def class_names(classes: str | None) -> tuple[str, ...]:
    """The names in the file that ``classes`` names; none where it is a number, or nothing.

    Raises:
        RefusedError: it is neither a number of at least 2 nor a file.
    """
    if classes is None or classes.isdecimal():
        if classes is not None and int(classes) < 2:
            msg = f"--classes {classes}: a classifier has at least two"
            raise RefusedError(msg)
        return ()
    try:
        names = tuple(line.strip() for line in Path(classes).read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        msg = f"--classes {classes}: write a number, or a text file with one class name a line ({error})"
        raise RefusedError(msg) from error
    if len(names) < 2:
        msg = f"--classes {classes}: the file has {len(names)} names; a classifier has at least two"
        raise RefusedError(msg)
    return names


def outputs_of(tensors: dict[str, Tensor]) -> int:
    """Outputs of the classifier: the one matrix among the tensors, or the one that is called so.

    Raises:
        RefusedError: there is none or more than one.
    """
    matrices = {name: tensor for name, tensor in tensors.items() if tensor.dim() == 2}
    if len(matrices) > 1:
        named = {name.rpartition(".")[0] for name in matrices} & CLASSIFIERS
        matrices = {name: tensor for name, tensor in matrices.items() if name.rpartition(".")[0] in named}
    if len(matrices) != 1:
        msg = "the weights don't tell the number of classes: give --classes"
        raise RefusedError(msg)
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


def count_macs(model: nn.Module, image_size: int) -> int:
    """Multiply-accumulates of convolutions and linear layers for one image, counted in a forward pass."""
    total = 0

    def count(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        nonlocal total
        weight = module.weight
        if isinstance(weight, Tensor):
            # A convolution is done at each place, a linear layer for each token: once for each value of a channel.
            total += weight.numel() * (output.numel() // weight.shape[0])

    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    model.eval()
    with torch.inference_mode():
        model(torch.zeros(1, 3, image_size, image_size))
    for hook in hooks:
        hook.remove()
    return total


def as_model(
    store: ObjectStore,
    bucket: str,
    zoo: str,
    name: str,
    prepared: Prepared,
    *,
    source: str,
    source_accuracy: float,
    precision: Precision,
    channels_last: bool,
) -> ZooModel:
    """Store the weights in the zoo, and describe the model."""
    model = ZooModel(
        name=name,
        architecture=prepared.architecture,
        weights_uri=weights_uri(bucket, zoo, name, prepared.digest),
        weights_digest=prepared.digest,
        weights_bytes=len(prepared.body),
        classes=prepared.class_names if len(prepared.class_names) <= CLASS_NAMES_KEPT else (),
        class_count=prepared.class_count,
        classes_digest=digest("\n".join(prepared.class_names).encode()) if prepared.class_names else None,
        source=source,
        preprocessing=prepared.preprocessing,
        low_resolution_stem=prepared.low_resolution_stem,
        channels_last=channels_last,
        precision=precision,
        source_accuracy=source_accuracy,
        parameters=prepared.parameters,
        macs=prepared.macs,
    )
    store_once(store, model.weights_uri, prepared)
    return model


def as_extractor(store: ObjectStore, bucket: str, name: str, prepared: Prepared) -> Extractor:
    """Store the weights, and register them as extractor ``name``; again changes nothing.

    Raises:
        RefusedError: there is another extractor of this name; zoos are pinned to it.
    """
    head_of(build_model(prepared.architecture, prepared.class_count))  # An extractor is a network without its head.
    extractor = Extractor(
        name=name,
        architecture=prepared.architecture,
        weights_uri=f"s3://{bucket}/{extractor_weights_key(name, prepared.digest)}",
        weights_digest=prepared.digest,
        preprocessing=prepared.preprocessing,
    )
    store_once(store, extractor.weights_uri, prepared)
    body = dump(RegisteredExtractor(extractor=extractor))
    if store.create_or_read(f"s3://{bucket}/{extractor_key(name)}", body) != body:
        msg = f"there is another extractor {name!r}, which zoos may be pinned to: choose another name"
        raise RefusedError(msg)
    return extractor


def store_once(store: ObjectStore, uri: str, prepared: Prepared) -> None:
    """Write the weights, unless they are there."""
    if digest(store.create_or_read(uri, prepared.body)) != prepared.digest:
        raise UnreadableDocumentError(uri, "its name holds a digest that its content does not have")
