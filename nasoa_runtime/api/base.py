"""What every model of the API is built on."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from nasoa_runtime.api.rules import VALIDATIONS, Rule, check

GROUP = "nasoa.io"
VERSION = "v1alpha1"
TERMINAL = ("Succeeded", "Failed")
"""Phases in which an object of either kind has ended."""


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

    RULES: ClassVar[tuple[Rule, ...]] = ()
    """What must hold between the part's fields."""

    @model_validator(mode="after")
    def _obey(self) -> Self:
        check(self.RULES, self)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Let the API server check the rules too."""
        result = handler(schema)
        if cls.RULES:
            handler.resolve_ref_schema(result)[VALIDATIONS] = [rule.entry() for rule in cls.RULES]
        return result

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
