"""Weights: fetched and checked, loaded without running code, and written."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from nasoa_runtime.boundary import digest
from nasoa_runtime.pods.failures import BadInputError
from nasoa_runtime.pods.networks.building import head_of
from nasoa_runtime.pods.retrying import blaming, retrying
from nasoa_runtime.storage.s3 import ObjectStore

log = logging.getLogger(__name__)


def weights_bytes(model: nn.Module) -> bytes:
    """The model's weights as safetensors."""
    return save_safetensors(stored(model.state_dict()))


def stored(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as safetensors takes them: on the CPU, contiguous, and none sharing memory with another."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


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


def fetch_weights(store: ObjectStore, uri: str, expected_digest: str, cache: Path | None = None) -> bytes:
    """Read weights and check their SHA-256 before anything looks into them.

    Args:
        store: Where they are.
        uri: Their address.
        expected_digest: What their SHA-256 must be.
        cache: A directory on this machine in which they are kept by digest, for when they are asked for again.

    Raises:
        BadInputError: They are missing or other than named.
    """
    kept = None if cache is None else cache / expected_digest
    if kept is not None and kept.is_file():
        content = kept.read_bytes()
        if digest(content) == expected_digest:
            return content
    with blaming("zoo"):
        found = retrying(lambda: store.get(uri))
    if found is None:
        msg = f"there is no object {uri}: its manifest names weights that are gone; publish them again."
        raise BadInputError(msg, "zoo")
    actual = digest(found.body)
    if actual != expected_digest:
        msg = f"{uri} has digest {actual[:12]}, not {expected_digest[:12]}: the object was changed."
        raise BadInputError(msg, "zoo")
    if kept is not None:
        _keep(kept, found.body)
    return found.body


def _keep(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all; a disk that is full only makes the next time slower."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        log.warning("Weights are not kept in %s: %s", path.parent, error)
