"""The examples are objects that the API takes, and belong together."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from nasoa_operator.accept import search_problems
from nasoa_runtime.api.finetune import FineTuneRequestSpec
from nasoa_runtime.api.search import NASSearchSpec

EXAMPLES = Path(__file__).parents[2] / "examples"
DOCUMENTS = [
    pytest.param(document, id=f"{path.name}: {document['kind']} {document['metadata']['name']}")
    for path in sorted(EXAMPLES.glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
]
SPECS = {"NASSearch": NASSearchSpec, "FineTuneRequest": FineTuneRequestSpec}


def of_kind(kind):
    return [param.values[0] for param in DOCUMENTS if param.values[0]["kind"] == kind]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_an_example_is_valid(document):
    if document["kind"] in SPECS:
        SPECS[document["kind"]].model_validate(document["spec"])
    else:
        assert document["kind"] in {"Namespace", "Secret"}


def test_the_search_can_start_and_is_small():
    (search,) = of_kind("NASSearch")
    spec = NASSearchSpec.model_validate(search["spec"])
    assert search_problems(spec) == []
    assert (spec.block_phase.generations, spec.macro_phase.generations, spec.parallelism, spec.zoo.size) == (3, 4, 2, 3)


def test_the_requests_use_the_zoo_of_the_search_and_none_of_its_data():
    (search,) = of_kind("NASSearch")
    requests = of_kind("FineTuneRequest")
    assert len(requests) == len({r["metadata"]["name"] for r in requests}) >= 5
    assert {r["spec"]["zoo"] for r in requests} == {search["spec"]["zoo"]["name"]}
    assert not any("fashion" in r["spec"]["dataset"]["uri"] for r in requests)


def test_everything_is_in_one_namespace_and_names_its_secret():
    (namespace,), (secret,) = of_kind("Namespace"), of_kind("Secret")
    for document in of_kind("NASSearch") + of_kind("FineTuneRequest"):
        assert document["metadata"]["namespace"] == namespace["metadata"]["name"]
        assert document["spec"]["storage"]["secretName"] == secret["metadata"]["name"]
