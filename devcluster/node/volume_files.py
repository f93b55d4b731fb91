"""The files of ConfigMap, Secret, projected and downward API volumes. Pure, but for writing them."""

import base64
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from .environment import Placement, field_value, resource_value
from .errors import VolumeNotReadyError

JSON = dict[str, Any]
DEFAULT_MODE = 0o644


@dataclass(frozen=True)
class VolumeFile:
    """One file of a volume; ``path`` is relative to the volume."""

    path: str
    content: bytes
    mode: int = DEFAULT_MODE


def object_content(kind: str, document: JSON) -> dict[str, bytes]:
    """Returns the keys of a ConfigMap or a Secret with their bytes."""
    if kind == "Secret":
        return {key: base64.b64decode(text) for key, text in (document.get("data") or {}).items()}
    plain = {key: text.encode() for key, text in (document.get("data") or {}).items()}
    return plain | {key: base64.b64decode(text) for key, text in (document.get("binaryData") or {}).items()}


def object_text(kind: str, document: JSON) -> dict[str, str]:
    """Returns the same as text, for environment variables; bytes that are no text are replaced."""
    content = object_content(kind, document)
    if kind == "ConfigMap":
        content = {key: value for key, value in content.items() if key in (document.get("data") or {})}
    return {key: value.decode("utf-8", errors="replace") for key, value in content.items()}


def object_files(label: str, content: Mapping[str, bytes] | None, source: JSON, default_mode: int) -> list[VolumeFile]:
    """Returns the files of a ConfigMap or Secret source.

    Args:
        label: What to call the object in an error.
        content: Its keys, or ``None`` when it does not exist.
        source: The volume source, with ``items`` and ``optional``.
        default_mode: Mode of files whose item names none.

    Raises:
        VolumeNotReadyError: The object or a key is missing and not optional.
    """
    if content is None:
        if source.get("optional"):
            return []
        raise VolumeNotReadyError(f"{label} not found")
    items: Sequence[JSON] | None = source.get("items")
    if not items:
        return [VolumeFile(key, value, default_mode) for key, value in sorted(content.items())]
    missing = [one["key"] for one in items if one["key"] not in content]
    if missing and not source.get("optional"):
        raise VolumeNotReadyError(f"{label} references non-existent key: {missing[0]}")
    return [
        VolumeFile(one["path"], content[one["key"]], one.get("mode") or default_mode)
        for one in items
        if one["key"] in content
    ]


def downward_files(pod: JSON, items: Iterable[JSON], placement: Placement, default_mode: int) -> list[VolumeFile]:
    """Returns the files of a downward API source."""
    files = []
    for item in items:
        if item.get("fieldRef"):
            text = field_value(pod, item["fieldRef"]["fieldPath"], placement)
        else:
            reference = item["resourceFieldRef"]
            named = {"name": reference.get("containerName", "")}
            text = resource_value(pod, named, reference, placement)
        files.append(VolumeFile(item["path"], text.encode(), item.get("mode") or default_mode))
    return files


def write_files(directory: Path, files: Iterable[VolumeFile]) -> None:
    """Writes the files, each replaced at once, so that a reader sees either version whole.

    Raises:
        VolumeNotReadyError: A path leads out of the volume.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for file in files:
        relative = PurePosixPath(file.path)
        if relative.is_absolute() or ".." in relative.parts:
            raise VolumeNotReadyError(f"{file.path}: a path in a volume is relative and without '..'")
        target = directory / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(file.content)
        temporary.chmod(file.mode)
        temporary.replace(target)
