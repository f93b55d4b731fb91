"""Reading a FineTuneRequest from YAML, as far as planning needs it.

Admission judges requests; this only refuses what can't be planned with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from nasoa_runtime.boundary import Device
from nasoa_runtime.cli.common import RefusedError
from nasoa_runtime.durations import seconds
from nasoa_runtime.online.candidates import Grid, Request

T = TypeVar("T")


@dataclass(frozen=True)
class RequestFile:
    """What is planned for."""

    name: str
    uid: str | None
    """Of the object on the cluster; only a file that came from there has it."""
    zoo: str
    seed: int
    max_images: int | None
    device: Device
    request: Request
    grid: Grid


def read_request(path: Path, name: str | None = None) -> RequestFile:
    """Read the FineTuneRequest in ``path``, the one called ``name`` if it has several.

    Raises:
        RefusedError: there is none, or a field can't be used; the message names it.
    """
    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"{path}: not a YAML file: {error}"
        raise RefusedError(msg) from error
    found = {
        str(_part(d, "metadata").get("name", "")): d
        for d in documents
        if isinstance(d, dict) and d.get("kind") == "FineTuneRequest"
    }
    if not found:
        msg = f"{path}: there is no FineTuneRequest in it"
        raise RefusedError(msg)
    if (name is None and len(found) > 1) or (name is not None and name not in found):
        msg = f"{path}: choose one of its requests with --name: {', '.join(sorted(found))}"
        raise RefusedError(msg)
    return _read(found[name] if name is not None else next(iter(found.values())))


def _read(document: Mapping[str, Any]) -> RequestFile:
    metadata, spec = _part(document, "metadata"), _part(document, "spec")
    pins, limits, grid = (_part(spec, part) for part in ("pins", "limits", "grid"))
    try:
        request = Request(
            time_limit_seconds=duration_seconds(_field(spec, "timeLimit", str)),
            batch_size=_field(spec, "batchSize", int, 32),
            model=_field(pins, "model", str, None),
            learning_rate=_field(pins, "learningRate", float, None),
            frozen_stages=_field(pins, "frozenStages", int, None),
            steps=_field(pins, "steps", int, None),
            most_parameters=_field(limits, "maxParameters", int, None),
            most_inference_milliseconds=_field(limits, "maxInferenceMilliseconds", float, None),
        )
        default = Grid()
        return RequestFile(
            name=str(metadata.get("name", "")),
            uid=metadata.get("uid"),
            zoo=_field(spec, "zoo", str),
            seed=_field(spec, "seed", int, 0),
            max_images=_field(_part(spec, "dataset"), "maxImages", int, None),
            device=Device.model_validate({"type": "cpu", "count": 1} | dict(_part(spec, "device"))),
            request=request,
            grid=Grid(
                learning_rates=tuple(grid.get("learningRates", default.learning_rates)),
                frozen_stages=tuple(grid.get("frozenStages", default.frozen_stages)),
                fractions=tuple(grid.get("stepFractions", default.fractions)),
                most_epochs=_field(grid, "maxEpochs", float, default.most_epochs),
            ),
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        msg = f"spec.device.{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise RefusedError(msg) from error
    except (TypeError, ValueError) as error:
        msg = f"spec: {error}"
        raise RefusedError(msg) from error


def duration_seconds(text: str) -> float:
    """Seconds of ``spec.timeLimit``.

    Raises:
        RefusedError: it is no duration, or not above zero.
    """
    try:
        return seconds(text)
    except ValueError as error:
        msg = f"spec.timeLimit: {error}"
        raise RefusedError(msg) from error


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = document.get(name) or {}
    if not isinstance(part, Mapping):
        msg = f"{name}: must have fields by name"
        raise RefusedError(msg)
    return part


_REQUIRED: Any = object()


def _field(part: Mapping[str, Any], name: str, kind: type[T], default: Any = _REQUIRED) -> Any:
    value = part.get(name, default)
    if value is _REQUIRED:
        msg = f"spec.{name} is missing"
        raise RefusedError(msg)
    if value is default:
        return value
    accepted: tuple[type, ...] = (int, float) if kind is float else (kind,)
    if not isinstance(value, accepted) or isinstance(value, bool):
        msg = f"spec...{name}: must be {'a number' if kind is not str else 'text'}, not {value!r}"
        raise RefusedError(msg)
    return kind(value)  # type: ignore[call-arg]
