"""What all persisted documents have in common: a format version, a checksum, one way to write and one way to read them.

A document is canonical JSON. ``formatVersion`` says how to read it, and ``checksum`` is the SHA-256 of everything else,
so that a document that was edited by hand, or cut off, is noticed and not believed. Whoever can't read a document says
which one and leaves it alone: it may be somebody's only copy.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, TypeVar

from pydantic import ValidationError

from nasoa_runtime.boundary.base import Record, canonical_json, digest

FORMAT_VERSION, CHECKSUM = "formatVersion", "checksum"


class UnreadableDocumentError(Exception):
    """What is stored under a key is not the document that belongs there. Nobody may overwrite it."""

    def __init__(self, uri: str, reason: str) -> None:
        super().__init__(f"{uri} can't be read: {reason}. It is left as it is; restore or remove it.")
        self.uri = uri
        self.reason = reason


class Document(Record):
    """Base of persisted documents: frozen, and closed to keys that it does not know."""

    FORMAT: ClassVar[int] = 2
    """Version of this document's shape; rises with every change that an older reader would misread."""


D = TypeVar("D", bound=Document)


def dump(document: Document) -> bytes:
    """The bytes under which ``document`` is stored; equal documents have equal bytes."""
    body = document.model_dump(mode="json") | {FORMAT_VERSION: document.FORMAT}
    return canonical_json(body | {CHECKSUM: digest(canonical_json(body))})


def load(kind: type[D], content: bytes, uri: str) -> D:
    """Read what :func:`dump` wrote.

    Args:
        kind: the document that belongs at ``uri``.
        content: what is stored there.
        uri: its address or key, for the error.

    Raises:
        UnreadableDocumentError: it is not JSON, of another format version, edited since, or of another shape.
    """
    try:
        body: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnreadableDocumentError(uri, f"it is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise UnreadableDocumentError(uri, "it is not a JSON object")
    version, checksum = body.pop(FORMAT_VERSION, None), body.pop(CHECKSUM, None)
    if version != kind.FORMAT:
        raise UnreadableDocumentError(uri, f"it has format version {version}, and this program reads {kind.FORMAT}")
    if checksum != digest(canonical_json({**body, FORMAT_VERSION: version})):
        raise UnreadableDocumentError(uri, "its content does not match its checksum: it was changed or cut off")
    try:
        return kind.model_validate_json(json.dumps(body))
    except ValidationError as error:
        raise UnreadableDocumentError(uri, f"it is not a {kind.__name__}: {first_problem(error)}") from error


def first_problem(error: ValidationError) -> str:
    """The first problem of a validation error, with the field's path, in one line."""
    problem = error.errors(include_url=False, include_input=False)[0]
    path = ".".join(str(part) for part in problem["loc"])
    return f"{path}: {problem['msg']}"[:300] if path else str(problem["msg"])[:300]
