"""Reading a spec, for the operator and the command line alike, and telling what is wrong with one.

Messages have the words of the API server's: what it says of a field that it refuses is said here of the same field.
"""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

from pydantic import ValidationError

from nasoa_runtime.api.base import SpecPart

S = TypeVar("S", bound=SpecPart)

MESSAGE_LIMIT = 500
UNKNOWN = "extra_forbidden"
_TYPES = {
    "string": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "tuple": "array",
    "dict": "object",
    "model": "object",
}
"""What pydantic calls a type, and what the API server calls it."""


class SpecError(ValueError):
    """A spec that admission would refuse. The message is ``spec.<path>: <what is wrong>``."""


def read_spec(kind: type[S], spec: Any) -> S:
    """The spec ``spec``, as it stands in YAML, of a kind.

    Strict, as the API server is: text is no number, a number no text, and fields have the names of the YAML only.

    Raises:
        SpecError: it breaks a rule; the message names the field and says what to write instead.
    """
    try:
        body = json.dumps(_without_nulls(spec), default=str)
        return kind.model_validate_json(body, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        raise SpecError(first_problem(error)) from error


def _without_nulls(value: Any) -> Any:
    """``value`` without the fields that are null: the API server takes these for left out."""
    if isinstance(value, dict):
        return {name: _without_nulls(part) for name, part in value.items() if part is not None}
    return [_without_nulls(part) for part in value] if isinstance(value, list) else value


def first_problem(error: ValidationError, root: str = "spec") -> str:
    """The first problem of a spec, or of what else is at ``root``, with the path of the field, in one line.

    A field that there is not comes before all others: it is often the misspelt name of one that is then missing.
    """
    problem = min(error.errors(include_url=False), key=lambda each: each["type"] != UNKNOWN)
    path = root + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"])
    return f"{path}: {_message(problem)}".lstrip(".: ")[:MESSAGE_LIMIT]


def _message(problem: Any) -> str:
    """What is wrong with a field, in the words of the API server where it has some."""
    kind: str = problem["type"]
    base, _, rest = kind.partition("_")
    if kind == "missing":
        return "Required value"
    if kind == UNKNOWN:
        return "unknown field"
    if kind == "literal_error":
        names = re.findall(r"'([^']*)'", problem["ctx"]["expected"])
        supported = ", ".join(f'"{name}"' for name in names)
        return f"Unsupported value: {json.dumps(problem['input'], default=str)}: supported values: {supported}"
    if base in _TYPES and rest in {"type", "parsing", "from_float"}:
        return f"must be of type {_TYPES[base]}"
    said = str(problem["msg"]).removeprefix("Value error, ")
    return re.sub(r"^[A-Z][a-z]+ should ", "should ", said).replace("match pattern", "match")
