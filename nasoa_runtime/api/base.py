"""What every model of the API is built on, and how a CEL rule is attached to one."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

GROUP = "nasoa.io"
VERSION = "v1alpha1"
VALIDATIONS = "x-kubernetes-validations"
TERMINAL = ("Succeeded", "Failed")
"""Phases in which an object of either kind has ended."""


def rule(expression: str, message: str, *, field_path: str | None = None) -> dict[str, str]:
    """A CEL rule of the API server; ``message`` says what to write instead."""
    entry = {"rule": expression, "message": message}
    return entry | ({"fieldPath": field_path} if field_path else {})


def rules(*entries: dict[str, str]) -> dict[str, Any]:
    """Schema extras that carry CEL rules, for ``Field(json_schema_extra=...)`` or a model's config."""
    return {VALIDATIONS: list(entries)}


class SpecPart(BaseModel):
    """Part of a spec: frozen, and closed to keys it does not know (the API server prunes or refuses them first)."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )

    def to_manifest(self) -> dict[str, Any]:
        """The part as it stands in YAML: camelCase, without what is not set."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")


class StatusPart(SpecPart):
    """Part of a status: open to unknown keys, since another version of the operator may have written it."""

    model_config = ConfigDict(extra="ignore")

    @classmethod
    def read(cls, status: Any) -> Self:
        """The status as it was read from the API server; an absent one is an empty one."""
        return cls.model_validate(status or {})
