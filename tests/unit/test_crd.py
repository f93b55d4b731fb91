"""The CRDs: they agree with the models, and their schemas are structural and bounded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nasoa_operator.crd import crd, files, object_schema, structural
from nasoa_runtime.api.kinds import KINDS, REQUEST, SEARCH
from nasoa_runtime.online.candidates import DEFAULT, PAPER

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


def fields(schema, path=""):
    """Every field below a schema: where it stands, its schema, and whether it must be written."""
    for name, node in schema.get("properties", {}).items():
        yield f"{path}.{name}", node, name in schema.get("required", ())
        yield from fields(node.get("items", node), f"{path}.{name}")


def described(kind):
    """Every field that has a description; the API server takes none of an object's metadata."""
    return [(path, node) for path, node, _ in fields(object_schema(kind)) if path != ".metadata"]


@pytest.mark.parametrize("kind", BOTH)
def test_every_field_is_described_in_full_sentences(kind):
    for path, node in described(kind):
        description = node.get("description", "")
        assert len(description) >= 30, path
        assert re.fullmatch(r"[A-Z].*\.", description), path
        assert not re.match("(Of|From|For) ", description), path
        assert "  " not in description, path
        assert "``" not in description, path


UNITS = {
    r"(s|S)econds": "second",
    r"Milliseconds": "in milliseconds",
    r"Hours$": "hours",
    r"imageSize$": "in pixels",
    r"(e|maxE)pochs$": "epochs",
    r"(resources\.)(requests|limits)$": "bytes",
}
"""Names of fields, and the word by which their descriptions say the unit."""


@pytest.mark.parametrize("kind", BOTH)
def test_numbers_are_described_with_their_units(kind):
    found = set()
    for path, node in described(kind):
        for name, word in UNITS.items():
            if re.search(name, path):
                assert word in node["description"], path
                found.add(word)
        if (node.get("minimum"), node.get("maximum")) == (0, 1):
            assert "from 0 " in node["description"], path
        if node.get("x-kubernetes-int-or-string"):
            assert "such as" in node["description"], path
        if node.get("format") == "date-time":
            assert node["description"].startswith("When "), path
    assert "second" in found


@pytest.mark.parametrize("kind", BOTH)
def test_what_may_be_left_out_says_what_holds_then(kind):
    """By the default at the end, or in words where there is none; parts whose fields all have defaults are spared."""
    for path, node, required in fields(object_schema(kind)["properties"]["spec"]):
        if required or (node.get("default") == {} and "properties" in node):
            continue
        if node.get("default") in (None, {}, []):
            assert "left out" in node["description"], path
        else:
            assert re.search(r" Default: [^ ].*\.$", node["description"]), path


@pytest.mark.parametrize(
    ("path", "told"),
    [
        pytest.param("grid.maxEpochs", "Default: 200.", id="a number"),
        pytest.param("suspend", "Default: false.", id="a truth"),
        pytest.param("strategy", "Default: Race.", id="a word"),
        pytest.param("grid.stepFractions", "with Paper 0.125 too.", id="a list of the preset"),
        pytest.param("timeLimit", "do not count.", id="none"),
    ],
)
def test_defaults_stand_at_the_end(path, told):
    node = object_schema(REQUEST)["properties"]["spec"]
    for part in path.split("."):
        node = node["properties"][part]
    assert node["description"].endswith(f" {told}")


def test_the_numbers_of_frozen_stages_are_those_of_the_architectures():
    grid = object_schema(REQUEST)["properties"]["spec"]["properties"]["grid"]["properties"]["frozenStages"]
    assert (grid["maxItems"], grid["items"]["maximum"]) == (6, 5)


def test_what_the_presets_have_is_what_their_fields_say():
    """`kubectl explain` prints the values of both presets, which stand in the generator."""
    told = object_schema(REQUEST)["properties"]["spec"]["properties"]["grid"]["properties"]
    for field, ours in {
        "learningRates": (*DEFAULT.learning_rates, *DEFAULT.adamw_learning_rates),
        "stepFractions": (*DEFAULT.fractions, *PAPER.fractions[3:]),
        "batchSizes": (*DEFAULT.batch_sizes, *PAPER.batch_sizes),
        "weightDecays": (*DEFAULT.weight_decays, *PAPER.weight_decays, *DEFAULT.adamw_weight_decays),
        "layerDecays": (*DEFAULT.layer_decays, *PAPER.layer_decays),
        "labelSmoothings": (*DEFAULT.label_smoothings, *PAPER.label_smoothings),
        "mixups": (*DEFAULT.mixups, *PAPER.mixups),
    }.items():
        says = told[field]["description"].partition("When left out,")[2]
        numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", says)]
        assert numbers == [float(value) for value in ours], field
    assert "items" in told["optimizers"]
    assert told["optimizers"]["items"]["enum"] == ["SGD", "AdamW"]
    assert told["augmentations"]["items"]["enum"] == ["Crop", "RandAugment", "TrivialAugment"]


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
