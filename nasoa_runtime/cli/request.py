"""Reading a FineTuneRequest from a file. It is judged by the API's own models, as the API server would."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nasoa_runtime.api.finetune import FineTuneRequestSpec
from nasoa_runtime.api.kinds import REQUEST
from nasoa_runtime.api.reading import SpecError, read_spec
from nasoa_runtime.cli.common import RefusedError

STDIN = Path("-")


@dataclass(frozen=True)
class NamedRequest:
    """What is planned for."""

    name: str
    uid: str | None
    """Of the object on the cluster; only a file that came from there has it."""
    spec: FineTuneRequestSpec


def read_request(path: Path, name: str | None = None) -> NamedRequest:
    """Read the FineTuneRequest in ``path``, the one called ``name`` if it has several.

    Raises:
        RefusedError: there is none, or admission would refuse it; the message names the field.
    """
    requests = {str(metadata_of(document).get("name", "")): document for document in documents_in(path)}
    if not requests:
        msg = f"{path}: there is no {REQUEST.kind} in it"
        raise RefusedError(msg)
    if name is None and len(requests) > 1:
        msg = f"{path}: choose one of its requests with --name: {', '.join(sorted(requests))}"
        raise RefusedError(msg)
    if name is not None and name not in requests:
        msg = f"{path}: it has no request {name!r}; choose one with --name: {', '.join(sorted(requests))}"
        raise RefusedError(msg)
    chosen = next(iter(requests.values())) if name is None else requests[name]
    metadata = metadata_of(chosen)
    try:
        spec = read_spec(FineTuneRequestSpec, chosen.get("spec"))
    except SpecError as error:
        msg = f"{path}: {error}"
        raise RefusedError(msg) from error
    uid = metadata.get("uid")
    return NamedRequest(str(metadata.get("name", "")), None if uid is None else str(uid), spec)


def documents_in(path: Path) -> list[Mapping[str, Any]]:
    """The FineTuneRequests in a YAML file of one or more documents; :data:`STDIN` is what comes on standard input.

    Raises:
        RefusedError: it is not YAML.
    """
    try:
        text = sys.stdin.read() if path == STDIN else path.read_text(encoding="utf-8")
        documents = list(yaml.safe_load_all(text))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"{path}: not a YAML file: {error}"
        raise RefusedError(msg) from error
    objects = [made for document in documents for made in _objects_of(document)]
    return [made for made in objects if isinstance(made, dict) and made.get("kind") == REQUEST.kind]


def _objects_of(document: Any) -> list[Any]:
    """The objects of a document: ``kubectl get`` prints several as a List."""
    if not isinstance(document, dict) or document.get("kind") != "List":
        return [document]
    items = document.get("items")
    return items if isinstance(items, list) else []


def metadata_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metadata of an object; none where it has no fields."""
    metadata = document.get("metadata")
    return metadata if isinstance(metadata, dict) else {}
