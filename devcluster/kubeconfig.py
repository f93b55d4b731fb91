"""Kubeconfig documents, with everything embedded, so that each is one file."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .certificates import Pair, write_private


@dataclass(frozen=True)
class ApiServer:
    """How an API server is reached and recognised (``authority`` is PEM)."""

    endpoint: str
    authority: bytes


def with_certificate(server: ApiServer, user: str, pair: Pair) -> dict[str, Any]:
    """Access by client certificate."""
    return _document(
        server,
        user,
        {"client-certificate-data": _encoded(pair.certificate), "client-key-data": _encoded(pair.key)},
    )


def with_token(server: ApiServer, user: str, token: str, namespace: str) -> dict[str, Any]:
    """Access by a service account's token; ``namespace`` is what commands act on by default."""
    return _document(server, user, {"token": token}, namespace)


def write(path: Path, document: dict[str, Any]) -> None:
    """Writes a kubeconfig that only its owner can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, yaml.safe_dump(document, sort_keys=False).encode())


def _document(server: ApiServer, user: str, access: dict[str, str], namespace: str = "default") -> dict[str, Any]:
    cluster = {"server": server.endpoint, "certificate-authority-data": _encoded(server.authority)}
    context = {"cluster": "devcluster", "user": user, "namespace": namespace}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "devcluster", "cluster": cluster}],
        "users": [{"name": user, "user": access}],
        "contexts": [{"name": "devcluster", "context": context}],
        "current-context": "devcluster",
    }


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
