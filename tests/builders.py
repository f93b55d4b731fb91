"""Objects for tests. A test says only what matters to it: `a_search(parallelism=2)`."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

API_VERSION = "nasoa.io/v1alpha1"


def merged(base: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``overrides``, dictionaries merged level by level; ``None`` removes a key."""
    result = deepcopy(base)
    for key, value in overrides.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = deepcopy(value)
    return result


def _an_object(kind: str, name: str, namespace: str | None, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def a_search(name: str = "search", namespace: str | None = None, **overrides: Any) -> dict[str, Any]:
    """A NASSearch with the least that a user must write; ``overrides`` are fields of its spec, as in YAML."""
    spec: dict[str, Any] = {
        "dataset": {"uri": "s3://tenant/fashion-mnist"},
        "outputURI": "s3://tenant/search",
        "zoo": {"name": "fashion"},
    }
    return _an_object("NASSearch", name, namespace, merged(spec, overrides))


def a_request(name: str = "request", namespace: str | None = None, **overrides: Any) -> dict[str, Any]:
    """A FineTuneRequest with the least that a user must write; ``overrides`` are fields of its spec, as in YAML."""
    spec: dict[str, Any] = {
        "dataset": {"uri": "s3://tenant/digits"},
        "timeLimit": "60s",
        "zoo": "fashion",
        "outputURI": "s3://tenant/models",
    }
    return _an_object("FineTuneRequest", name, namespace, merged(spec, overrides))
