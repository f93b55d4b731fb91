"""Checking safetensors files from the outside: neither torch nor any code of the file is needed.

The format is eight bytes of header length (little-endian), a JSON header that names each tensor's type, shape and
place, and the tensors' bytes without gaps. What a network needs is checked against that header.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nasoa_runtime.architecture.complexity import complexity

LARGEST_HEADER_BYTES = 16 << 20
DTYPE_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8}
"""What networks are made of; BatchNorm counts its batches in I64."""
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
"""Last part of the names of tensors that are learned from data but are no parameters."""


class InvalidWeights(ValueError):  # noqa: N818 - reads as what is wrong
    """A file that is no safetensors file, or not one of this architecture; the message says what differs."""


@dataclass(frozen=True)
class Tensor:
    """A tensor's entry in the header."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Number of its elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """What a safetensors file says of itself."""

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """Elements of all tensors but BatchNorm's running statistics."""
        return sum(t.elements for name, t in self.tensors.items() if name.rpartition(".")[2] not in BUFFERS)


def read_header(source: bytes | Path) -> Header:
    """Read and check the header against the file's size.

    Raises:
        InvalidWeights: it is no whole safetensors file, or has a type that no network of ours has.
    """
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if size < 8:
        msg = f"it has {size} bytes, too few for a safetensors file"
        raise InvalidWeights(msg)
    (length,) = struct.unpack("<Q", _read(source, 0, 8))
    if length > min(LARGEST_HEADER_BYTES, size - 8):
        msg = f"its header would have {length} bytes: this is no safetensors file, or not all of it"
        raise InvalidWeights(msg)
    try:
        document = json.loads(_read(source, 8, length))
    except (ValueError, RecursionError) as error:
        msg = f"its header is not JSON: {error}"
        raise InvalidWeights(msg) from error
    if not isinstance(document, dict):
        msg = "its header is not a JSON object"
        raise InvalidWeights(msg)
    metadata = document.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        msg = "its metadata must be text by name"
        raise InvalidWeights(msg)
    return Header(_tensors(document, size - 8 - length), metadata)


def verify_weights(source: bytes | Path, architecture: str, classes: int, low_resolution_stem: bool = False) -> Header:
    """Check that a file holds weights of ``architecture`` with ``classes`` outputs.

    An encoding implies the number of parameters exactly. Of a ``timm:`` or ``torchvision:`` network only a library
    knows what it needs: there the file itself is checked, and that something in it has an output for each class.

    Raises:
        InvalidWeights: it does not.
    """
    header = read_header(source)
    if not header.tensors:
        msg = "it has no tensors"
        raise InvalidWeights(msg)
    if ":" in architecture:
        if not any(tensor.shape[:1] == (classes,) for tensor in header.tensors.values()):
            msg = f"no tensor has {classes} outputs, one for each class"
            raise InvalidWeights(msg)
        return header
    expected = complexity(architecture, classes=classes, low_resolution_stem=low_resolution_stem).parameters
    if header.parameters != expected:
        msg = (
            f"it has {header.parameters:,} parameters, but {architecture} with {classes} classes has {expected:,}: "
            "these are the weights of another network"
        )
        raise InvalidWeights(msg)
    return header


def _read(source: bytes | Path, start: int, length: int) -> bytes:
    if isinstance(source, bytes):
        return source[start : start + length]
    with source.open("rb") as file:
        file.seek(start)
        return file.read(length)


def _tensors(document: Mapping[str, Any], data_bytes: int) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    places: list[tuple[int, int]] = []
    for name, entry in document.items():
        try:
            dtype, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        except (TypeError, KeyError, ValueError) as error:
            msg = f"tensor {name[:100]!r} lacks dtype, shape or data_offsets"
            raise InvalidWeights(msg) from error
        if dtype not in DTYPE_BYTES:
            msg = f"tensor {name[:100]!r} has type {dtype!r}; a network's tensors are {', '.join(DTYPE_BYTES)}"
            raise InvalidWeights(msg)
        if not all(type(number) is int and number >= 0 for number in (*shape, start, end)):
            msg = f"tensor {name[:100]!r} has a shape or place that is no whole number"
            raise InvalidWeights(msg)
        tensors[name] = Tensor(dtype, shape)
        if end - start != tensors[name].elements * DTYPE_BYTES[dtype]:
            msg = f"tensor {name[:100]!r} has {end - start} bytes, which its type and shape contradict"
            raise InvalidWeights(msg)
        places.append((start, end))
    reached = 0
    for start, end in sorted(places):
        if start != reached:
            msg = "its tensors overlap or leave gaps"
            raise InvalidWeights(msg)
        reached = end
    if reached != data_bytes:
        msg = f"its tensors have {reached} bytes but {data_bytes} follow the header: it is cut off or was added to"
        raise InvalidWeights(msg)
    return tensors
