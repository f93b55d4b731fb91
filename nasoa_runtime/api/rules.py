"""What must hold of a spec beyond the types, each rule said once: in CEL for the API server, in Python for all others.

The command line has no API server at hand, and the operator may read what another version of the CRD let through.
Both check the same rules and say the same of what breaks them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

VALIDATIONS = "x-kubernetes-validations"
LIST_TYPE = "x-kubernetes-list-type"
RULE_BROKEN = "rule"
"""Type of the errors that broken rules are, as pydantic has it; the message is the rule's own."""


@dataclass(frozen=True)
class Rule:
    """One condition on a value."""

    expression: str
    """In CEL, where the value is `self`."""
    holds: Callable[[Any], bool]
    """The same in Python."""
    message: str
    """What is wrong with a value that breaks it, and what to write instead."""
    field_path: str | None = None
    """The field of the value that is to blame, such as `.zoo.size`; without it the value itself."""

    def entry(self) -> dict[str, str]:
        """The rule as a CRD has it."""
        return rule(self.expression, self.message, field_path=self.field_path)


def rule(expression: str, message: str, *, field_path: str | None = None) -> dict[str, str]:
    """A rule that only the API server can check, as a CRD has it: one that compares with the object before an edit."""
    entry = {"rule": expression, "message": message}
    return entry | ({"fieldPath": field_path} if field_path else {})


def check(rules: Sequence[Rule], value: Any) -> None:
    """Raise a ``ValidationError`` at the field that is to blame if ``value`` breaks one of ``rules``."""
    for each in rules:
        if not each.holds(value):
            raise broken(each.message, value, *(each.field_path or "").split(".")[1:])


def broken(message: str, value: Any, *path: str | int) -> ValidationError:
    """The error that says ``message`` of what stands at ``path`` below ``value``."""
    error = PydanticCustomError(RULE_BROKEN, "{message}", {"message": message})
    return ValidationError.from_exception_data("spec", [InitErrorDetails(type=error, loc=path, input=value)])


@dataclass(frozen=True)
class Obeys:
    """Annotates a type with rules."""

    rules: tuple[Rule, ...]
    before: bool = False
    """Whether to check before the type is: a value of another type then breaks the rule, and is told what to write."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let pydantic check the rules."""
        wrap = core_schema.no_info_before_validator_function if self.before else _after
        return wrap(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Let the API server check the rules."""
        return handler(schema) | {VALIDATIONS: [each.entry() for each in self.rules]}

    def _checked(self, value: Any) -> Any:
        check(self.rules, value)
        return value


@dataclass(frozen=True)
class Distinct:
    """Annotates a list whose items must differ."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let pydantic compare the items."""
        return _after(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Let the API server compare the items."""
        return handler(schema) | {LIST_TYPE: "set"}

    def _checked(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        for index, item in enumerate(items):
            if item in items[:index]:
                raise broken(f"Duplicate value: {item}", items, index)
        return items


def _after(function: Callable[[Any], Any], schema: CoreSchema) -> CoreSchema:
    return core_schema.no_info_after_validator_function(function, schema)


def matching(pattern: str, message: str, forbidden: str | None = None) -> Obeys:
    """Annotates text that must match ``pattern``, and must not have ``forbidden`` anywhere in it.

    Args:
        pattern: a regular expression that Python and RE2 understand alike, from ``^`` to ``$``.
        message: what to write instead.
        forbidden: another one, of which there must be no match.
    """

    def holds(text: str) -> bool:
        return re.fullmatch(pattern, text) is not None and not (forbidden and re.search(forbidden, text))

    expression = f"self.matches('{pattern}')" + (f" && !self.matches('{forbidden}')" if forbidden else "")
    return Obeys((Rule(expression, holds, message),))
