"""The CRDs: they agree with the models, and their schemas are structural and bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from nasoa_operator.crd import crd, files, object_schema, structural
from nasoa_runtime.api.kinds import KINDS, REQUEST, SEARCH

ROOT = Path(__file__).parents[2]
BOTH = [pytest.param(kind, id=kind.kind) for kind in KINDS]


def nodes(schema, path=""):
    """Every schema in ``schema``, with where it stands."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from nodes(schema[keyword], f"{path}[]")


@pytest.mark.parametrize("name", sorted(files()))
def test_the_committed_crds_are_what_the_models_say(name):
    assert (ROOT / "crds" / name).read_text() == files()[name], "run `make crds`"


@pytest.mark.parametrize("name", sorted(files()))
def test_the_chart_installs_the_same_crds(name):
    assert (ROOT / "helm" / "nasoa" / "crds" / name).read_text() == files()[name], "run `make crds`"


@pytest.mark.parametrize("kind", BOTH)
def test_every_schema_is_structural(kind):
    for path, node in nodes(object_schema(kind)):
        assert not {"$ref", "$defs", "title", "const", "prefixItems", "propertyNames", "allOf"} & set(node), path
        assert node.get("x-kubernetes-int-or-string") or "type" in node, path
        assert "anyOf" not in node or node.get("x-kubernetes-int-or-string"), path
        assert node.get("default", 0) is not None, path


@pytest.mark.parametrize("kind", BOTH)
def test_every_string_list_and_map_is_bounded(kind):
    for path, node in nodes(object_schema(kind)):
        if path in {".apiVersion", ".kind"}:
            continue
        if node.get("type") == "string":
            assert "maxLength" in node or "enum" in node, path
        if node.get("type") == "array":
            assert "maxItems" in node, path
        if "additionalProperties" in node:
            assert "maxProperties" in node, path


@pytest.mark.parametrize("kind", BOTH)
def test_every_field_of_ours_is_described(kind):
    for path, node in nodes(object_schema(kind)):
        top = path.split(".")[1] if "." in path else ""
        if top in {"spec", "status"} and not path.endswith("[]"):
            assert path == ".status" or node.get("description"), path


def test_all_fields_of_a_search_but_three_are_decided_at_creation():
    fields = set(object_schema(SEARCH)["properties"]["spec"]["properties"])
    rules = " ".join(r["rule"] for r in object_schema(SEARCH)["properties"]["spec"]["x-kubernetes-validations"])
    assert {field for field in fields if f"oldSelf.{field}" not in rules} == {"suspend", "parallelism", "limits"}


def test_optional_fields_are_compared_only_where_they_are():
    rules = object_schema(SEARCH)["properties"]["spec"]["x-kubernetes-validations"]
    (rule,) = [r["rule"] for r in rules if "resumeFrom" in r["rule"]]
    assert rule == (
        "has(self.resumeFrom) == has(oldSelf.resumeFrom)"
        " && (!has(self.resumeFrom) || self.resumeFrom == oldSelf.resumeFrom)"
    )


@pytest.mark.parametrize(
    ("kind", "headings"),
    [
        pytest.param(SEARCH, ["Phase", "Generation", "Evaluated", "Best", "Front", "Zoo", "Age"], id="NASSearch"),
        pytest.param(
            REQUEST, ["Phase", "Model", "Predicted", "Accuracy", "Used", "Version", "Age"], id="FineTuneRequest"
        ),
    ],
)
def test_printing_reads_like_a_dashboard(kind, headings):
    (version,) = crd(kind)["spec"]["versions"]
    assert [column["name"] for column in version["additionalPrinterColumns"]] == headings
    for column in version["additionalPrinterColumns"][:-1]:
        node = version["schema"]["openAPIV3Schema"]
        for part in column["jsonPath"].strip(".").split("."):
            node = node["properties"][part]
        assert node["type"] == column["type"], column


def test_conditions_are_a_map_by_type():
    conditions = structural(SEARCH.status.model_json_schema(mode="serialization"))["properties"]["conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert set(conditions["items"]["required"]) >= {"type", "status"}
