"""CRDs generated from the models: `python -m nasoa_operator.crd` writes `crds/*.yaml`, and the chart's copy.

pydantic's JSON schema is turned into what Kubernetes calls a structural schema: no references, no unions with null
(a value that may be absent is optional), defaults that fill in level by level, and rules in CEL.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from nasoa_runtime.api.base import GROUP, VERSION
from nasoa_runtime.api.kinds import KINDS, Kind
from nasoa_runtime.api.rules import VALIDATIONS, rule

Schema = dict[str, Any]
DIRECTORIES = (Path("crds"), Path("helm/nasoa/crds"))
# Keywords of JSON Schema that structural schemas don't know, or that repeat what they say.
_DROPPED = frozenset({"title", "additionalProperties", "$defs", "readOnly", "const", "propertyNames", "discriminator"})
_API_VERSION = f"Group and version of the API that the object is written in, {GROUP}/{VERSION}."
_KIND = "Kind of the object, in CamelCase. It can't be changed."


def crd(kind: Kind) -> Schema:
    """The CustomResourceDefinition of ``kind``."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.name},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": [kind.short],
                "categories": ["nasoa"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": name, "type": type_, "jsonPath": path} for name, type_, path in kind.columns
                    ]
                    + [{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}],
                    "schema": {"openAPIV3Schema": object_schema(kind)},
                }
            ],
        },
    }


def object_schema(kind: Kind) -> Schema:
    """The schema of a whole object."""
    spec = with_defaults_told(structural(kind.spec.model_json_schema(by_alias=True, mode="validation")))
    spec[VALIDATIONS] = [*immutable(spec, kind), *spec.get(VALIDATIONS, [])]
    schema: Schema = {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": _API_VERSION},
            "kind": {"type": "string", "description": _KIND},
            # A schema of the metadata may say nothing but the type: the API server knows the rest.
            "metadata": {"type": "object"},
            "spec": spec,
            "status": structural(kind.status.model_json_schema(by_alias=True, mode="serialization")),
        },
    }
    return schema | ({VALIDATIONS: [dict(entry) for entry in kind.rules]} if kind.rules else {})


def immutable(spec: Schema, kind: Kind) -> list[dict[str, str]]:
    """One rule for each field of ``spec`` that is decided at creation.

    The rules stand on the spec itself, because a rule on an optional field is not evaluated when an edit adds or
    removes the field.
    """
    always_there = {name for name, schema in spec["properties"].items() if "default" in schema} | set(spec["required"])
    return [
        rule(
            f"self.{name} == oldSelf.{name}"
            if name in always_there
            else f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})",
            f"spec.{name} is decided at creation and can't be changed (only {', '.join(kind.editable)} can): delete"
            f" this {kind.kind} and create another",
        )
        for name in spec["properties"]
        if name not in kind.editable
    ]


def with_defaults_told(schema: Schema) -> Schema:
    """``schema`` with each field's default at the end of its description, as `kubectl explain` does not print it."""
    result = dict(schema)
    if schema.get("default") not in (None, {}, []):
        result["description"] = f"{schema['description']} Default: {_told(schema['default'])}."
    if "properties" in schema:
        result["properties"] = {name: with_defaults_told(child) for name, child in schema["properties"].items()}
    if "items" in schema:
        result["items"] = with_defaults_told(schema["items"])
    return result


def _told(default: Any) -> str:
    """A default as YAML has it; the items of a list one after another."""
    if isinstance(default, list):
        return ", ".join(map(_told, default))
    return f"{default:g}" if isinstance(default, float) else json.dumps(default).strip('"')


def structural(schema: Schema) -> Schema:
    """The structural schema of pydantic's JSON schema ``schema``."""
    converted: Schema = _convert(schema, schema.get("$defs", {}))
    return converted


def _convert(node: Schema, definitions: Mapping[str, Schema]) -> Schema:
    node = _resolve(node, definitions)
    result = {key: value for key, value in node.items() if key not in _DROPPED}
    if "description" in result:
        result["description"] = re.sub(r"\s+", " ", result["description"]).strip()
    if "const" in node:
        result["enum"] = [node["const"]]
    for bound, key in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        # OpenAPI 3.0 has a flag beside the bound where JSON Schema has a second bound.
        if bound in result:
            result |= {key: result[bound], bound: True}
    if result.get("type") == "object":
        result |= _convert_object(node, definitions)
    if not result.get("required", True):
        del result["required"]
    if "items" in result:
        result["items"] = _convert(result["items"], definitions)
    if result.get("default", 0) is None:
        del result["default"]
    elif isinstance(result.get("default"), dict):
        # The parts of the default are the defaults of the parts: the API server fills them in.
        result["default"] = {}
    return result


def _convert_object(node: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """Properties of a model, or the value schema of a map."""
    if "properties" in node:
        computed = {name for name, value in node["properties"].items() if value.get("readOnly")}
        properties = {name: _convert(value, definitions) for name, value in node["properties"].items()}
        required = [name for name in node.get("required", ()) if name not in computed]
        return {"properties": properties, "required": required}
    values = node.get("additionalProperties")
    return {"additionalProperties": _convert(values, definitions)} if isinstance(values, dict) else {}


def _resolve(node: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """``node`` without a reference and without a union with null; what stands beside them wins."""
    if "$ref" in node:
        rest = {key: value for key, value in node.items() if key != "$ref"}
        return _resolve({**definitions[node["$ref"].rpartition("/")[2]], **rest}, definitions)
    options = [option for option in node.get("anyOf", ()) if option.get("type") != "null"]
    if len(options) == 1:
        rest = {key: value for key, value in node.items() if key != "anyOf"}
        return _resolve({**options[0], **rest}, definitions)
    return node


class _Dumper(yaml.SafeDumper):
    """Lists indented below their key, as in the Kubernetes documentation, and no anchors."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def to_yaml(document: Any) -> str:
    """``document`` as YAML, keys in the order in which they stand."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)


def files() -> dict[str, str]:
    """File name -> content of each CRD."""
    header = "# Generated by `make crds` from nasoa_runtime/api; edit that.\n"
    return {f"{GROUP}_{kind.plural}.yaml": header + to_yaml(crd(kind)) for kind in KINDS}


def main() -> None:
    """Write the CRDs."""
    parser = argparse.ArgumentParser(prog="python -m nasoa_operator.crd", description="Write the CRDs.")
    parser.add_argument("directories", nargs="*", type=Path, help="where they go (default: crds and the chart)")
    for directory in parser.parse_args().directories or DIRECTORIES:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in files().items():
            (directory / name).write_text(content)


if __name__ == "__main__":
    main()
