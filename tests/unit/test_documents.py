"""Documents are read as what they are, or not at all."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasoa_runtime.documents import request as requests
from nasoa_runtime.documents.base import UnreadableDocumentError, dump, load
from nasoa_runtime.documents.keys import PredictorKeys, SearchKeys, SearchPart, ZooKeys, zoo_of_manifest
from nasoa_runtime.documents.request import Failed
from nasoa_runtime.documents.search_records import kind_of
from nasoa_runtime.documents.steps import (
    FINETUNE,
    PRETRAIN,
    PROBE,
    TABLE,
    evaluate_step,
    parse_request_step,
    parse_search_step,
    profile_step,
)
from nasoa_runtime.search.individuals import LEVELS

KEY = "requests/uid/failed.json"
FAILED = Failed(reason="TimeLimitTooShort", message="nothing fits in 5 s")


def changed(**changes):
    """The stored document with fields changed and its checksum left as it was."""
    return json.dumps({**json.loads(dump(FAILED)), **changes}).encode()


def test_a_document_is_read_as_it_was_written():
    assert load(Failed, dump(FAILED), KEY) == FAILED
    assert set(json.loads(dump(FAILED))) == {"formatVersion", "checksum", "reason", "message"}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(b"", "it is not JSON", id="empty"),
        pytest.param(dump(FAILED)[:-9], "it is not JSON", id="cut off"),
        pytest.param(b"[]", "it is not a JSON object", id="a list"),
        pytest.param(changed(formatVersion=1), "it has format version 1, and this program reads 2", id="older"),
        pytest.param(changed(formatVersion=3), "it has format version 3, and this program reads 2", id="newer"),
        pytest.param(changed(message="all is well"), "its content does not match its checksum", id="edited"),
        pytest.param(changed(more=1), "its content does not match its checksum", id="a field too many"),
        pytest.param(changed(checksum=None), "its content does not match its checksum", id="without a checksum"),
    ],
)
def test_what_is_not_the_document_is_refused_by_name(content, why):
    with pytest.raises(UnreadableDocumentError, match=f"{KEY} can't be read: {why}") as refused:
        load(Failed, content, KEY)
    assert str(refused.value).endswith("It is left as it is; restore or remove it.")


def test_a_document_of_another_kind_is_refused_though_its_checksum_is_right():
    with pytest.raises(UnreadableDocumentError, match="it is not a Learned: version: Field required"):
        load(requests.Learned, dump(FAILED), KEY)


@given(
    part=st.one_of(
        st.builds(
            SearchPart, st.sampled_from(["spec", "limit", "stop", "selection", "pretrained", "table", "published"])
        ),
        st.builds(SearchPart, st.just("end"), st.sampled_from(LEVELS)),
        st.builds(
            SearchPart, st.sampled_from(["generation", "evaluations"]), st.sampled_from(LEVELS), st.integers(0, 99999)
        ),
        st.builds(
            SearchPart,
            st.sampled_from(["list", "profile"]),
            st.sampled_from(LEVELS),
            st.integers(0, 99999),
            st.integers(0, 99),
        ),
    )
)
def test_the_key_of_each_document_of_a_search_is_taken_apart_again(part):
    keys = SearchKeys("0f-uid")
    assert keys.part_of(keys.of(part)) == part
    assert kind_of(part) is not None


@pytest.mark.parametrize(
    "key",
    [
        "searches/0f-uid/block/g1/list-0.json",
        "searches/0f-uid/block/g0001/list-0",
        "searches/0f-uid/a/b/c.json",
        "other",
    ],
)
def test_a_key_of_nothing_of_ours_is_none(key):
    assert SearchKeys("0f-uid").part_of(key) is None


@pytest.mark.parametrize(
    ("step", "name", "program", "parse"),
    [
        pytest.param(profile_step("block", 3, 1), "block-g0003-profile1", "profile", parse_search_step, id="a list"),
        pytest.param(
            evaluate_step("macro", 12), "macro-g0012-evaluate", "evaluate", parse_search_step, id="a generation"
        ),
        pytest.param(PRETRAIN, "pretrain", "pretrain", parse_search_step, id="pretraining"),
        pytest.param(TABLE, "table", "profile", parse_search_step, id="the table"),
        pytest.param(PROBE, "probe", "probe", parse_request_step, id="a probe"),
        pytest.param(FINETUNE, "finetune", "finetune", parse_request_step, id="a run"),
    ],
)
def test_steps_have_names_that_tell_what_they_are(step, name, program, parse):
    assert (str(step), str(step.again()), step.program) == (name, f"{name}-retry", program)
    assert (parse(name), parse(f"{name}-retry")) == (step, step.again())


@pytest.mark.parametrize(
    "name", ["", "block-g3-evaluate", "block-g0003-train", "probe-retry-retry", "finetune2", "spec"]
)
def test_other_names_are_no_steps(name):
    assert parse_search_step(name) is None
    assert parse_request_step(name) is None


def test_what_zoos_and_predictors_keep_is_found_again():
    assert zoo_of_manifest(ZooKeys("fashion").manifest) == "fashion"
    assert zoo_of_manifest("zoo/extractors/lite0.json") is None
    keys = PredictorKeys("fashion")
    assert keys.uid_of(keys.outcome("0f-uid")) == "0f-uid"
