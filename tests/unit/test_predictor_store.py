"""The predictor's objects in S3: what is written, and what is refused and left alone. S3 is moto's server; that each
request teaches exactly once, whatever crashes, is held by `tests/cluster/test_state.py` on a real one."""

import json
from datetime import timedelta

import pytest
from described import START, a_record, a_run, an_outcome, batch
from s3 import an_empty_store

from nasoa_runtime.boundary import canonical_json, digest
from nasoa_runtime.documents.base import UnreadableDocumentError, dump, load
from nasoa_runtime.documents.outcomes import AppliedMarker, OutcomeRecord
from nasoa_runtime.online import state_bytes
from nasoa_runtime.online.features import PAPER_FEATURES, Feature
from nasoa_runtime.online.paper import PaperPredictor
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.online.warm_start import packaged_trees
from nasoa_runtime.storage.predictors import (
    LearnReceipt,
    count_outcomes,
    learn_once,
    read_outcomes,
    read_state,
    rebuild,
)
from nasoa_runtime.storage.s3 import ObjectStore

BASE = "s3://sys/predictors/fashion"
RECORD, MARKER, STATE = f"{BASE}/outcomes/uid-1.json", f"{BASE}/applied/uid-1.json", f"{BASE}/state.npz"


@pytest.fixture
def store(endpoint: str) -> ObjectStore:
    return an_empty_store(endpoint, "sys")


def learn(store, record=None):
    return learn_once(store, "sys", "fashion", record or a_record("uid-1", an_outcome()))


def keys(store):
    return {listed.key for listed in store.list(f"{BASE}/")}


def edited(document, change):
    """The document's bytes after ``change``, with the checksum that they need."""
    body = json.loads(dump(document))
    del body["checksum"]
    change(body)
    return canonical_json(body | {"checksum": digest(canonical_json(body))})


def test_learning_writes_a_record_a_state_and_a_marker(store):
    record = a_record("uid-1", an_outcome(0.5), an_outcome(0.9, model="b"))
    assert learn(store, record).version == 1
    assert keys(store) == {
        f"predictors/fashion/{end}"
        for end in (
            "outcomes/uid-1.json",
            f"models/{digest(packaged_trees())}.json.gz",
            "state.npz",
            "applied/uid-1.json",
        )
    }
    assert load(OutcomeRecord, store.get(RECORD).body, RECORD) == record
    assert load(AppliedMarker, store.get(MARKER).body, MARKER) == AppliedMarker(uid="uid-1", version=1)
    state = read_state(store, "sys", "fashion")
    assert (state.version, state.applied_uids) == (1, ("uid-1",))


def test_what_was_recorded_first_counts(store):
    assert learn(store, a_record("uid-1", an_outcome(0.5))).version == 1
    before = store.get(STATE).body
    again = learn(store, a_record("uid-1", an_outcome(0.9)))
    assert (again.version, again.already) == (1, True)
    assert store.get(STATE).body == before
    assert [outcome.accuracy for record in read_outcomes(store, "sys", "fashion") for outcome in record.runs] == [0.5]


def test_a_request_that_showed_nothing_counts_as_learned_and_leaves_the_version(store):
    assert learn(store, a_record("uid-0", an_outcome())).version == 1
    assert learn(store, a_record("uid-1")) == LearnReceipt(1, already=False)
    assert learn(store, a_record("uid-1")) == LearnReceipt(1, already=True)
    assert count_outcomes(store, "sys", "fashion") == 2


def without(name):
    return lambda body: body["runs"][0]["description"]["values"].pop(name)


def with_value(name, value):
    return lambda body: body["runs"][0]["description"]["values"].update({name: value})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(without("iterations"), "feature 'iterations' is absent from the description", id="absent"),
        pytest.param(without("macs"), "feature 'macs' is absent from the description", id="absent though optional"),
        pytest.param(with_value("colour", 3), "feature 'colour' of a run of model 'a' is unknown", id="unknown"),
        pytest.param(with_value("iterations", 0), "feature 'iterations' has a value that can't be used", id="unusable"),
        pytest.param(with_value("classes", None), "feature 'classes' has a value that can't be used", id="null"),
        pytest.param(with_value("classes", "many"), "runs.0.description.values.classes: ", id="no number"),
        pytest.param(lambda body: body["runs"][0].update(accuracy=1.7), "runs.0.accuracy: ", id="accuracy"),
        pytest.param(lambda body: body.update(uid="uid-2"), "it is the record of request uid-2", id="another's"),
        pytest.param(lambda body: body.update(formatVersion=99), "it has format version 99", id="newer"),
    ],
)
def test_a_record_that_cannot_be_learned_is_named_and_left_alone(store, change, reason):
    body = edited(a_record("uid-1", an_outcome()), change)
    store.put(RECORD, body)
    for act in (learn, lambda s: read_outcomes(s, "sys", "fashion"), lambda s: rebuild(s, "sys", "fashion")):
        with pytest.raises(UnreadableDocumentError) as raised:
            act(store)
        assert str(raised.value).startswith(f"{RECORD} can't be read: ")
        assert reason in raised.value.reason
    assert keys(store) == {"predictors/fashion/outcomes/uid-1.json"}
    assert store.get(RECORD).body == body


@pytest.mark.parametrize("spoil", [lambda body: body[:20], lambda body: body.replace(b'"version":1', b'"version":7')])
def test_a_marker_that_was_changed_is_named_and_left_alone(store, spoil):
    learn(store)
    body = spoil(store.get(MARKER).body)
    store.put(MARKER, body)
    store.put(STATE, state_bytes.dump(PredictorState.new()))  # It remembers nothing, so that the marker is asked.
    with pytest.raises(UnreadableDocumentError) as raised:
        learn(store)
    assert raised.value.uri == MARKER
    assert store.get(MARKER).body == body


def a_state_of_another_version():
    more = Feature("colour", "linear", 0.0, 1.0, of="dataset")
    return state_bytes.dump(PredictorState(PaperPredictor.new("adaptive-mlp", 0, (*PAPER_FEATURES, more))))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"\x80\x04 no npz", "it is no npz file", id="no npz"),
        pytest.param(a_state_of_another_version(), "features that are unknown here: colour", id="more features"),
    ],
)
def test_a_state_that_cannot_be_read_is_named_left_alone_and_kept_aside_by_a_rebuild(store, body, reason):
    learn(store)
    store.put(STATE, body)
    for act in (lambda s: read_state(s, "sys", "fashion"), learn):
        with pytest.raises(UnreadableDocumentError, match=reason) as raised:
            act(store)
        assert raised.value.uri == STATE
    assert store.get(STATE).body == body
    assert rebuild(store, "sys", "fashion").version == 1
    assert store.get(f"{BASE}/replaced/{digest(body)[:12]}.npz").body == body


def test_outcomes_are_read_in_the_order_in_which_they_were_learned_and_rebuilt_in_it(store):
    for number in (2, 0, 1):  # Neither the order of the UIDs nor that of the times.
        record = a_record(f"uid-{number}", an_outcome(0.3 * number + 0.1), recorded_at=START + timedelta(hours=number))
        learn(store, record)
    for number in (4, 3):
        record = a_record(f"uid-{number}", an_outcome(), recorded_at=START + timedelta(hours=9 - number))
        store.create(f"{BASE}/outcomes/uid-{number}.json", dump(record))
    recorded = [record.uid for record in read_outcomes(store, "sys", "fashion")]
    assert recorded == ["uid-2", "uid-0", "uid-1", "uid-4", "uid-3"]
    before = read_state(store, "sys", "fashion")
    after = rebuild(store, "sys", "fashion")
    assert after.applied_uids[:3] == before.applied_uids
    assert before.predict(batch(a_run()))[0] != after.predict(batch(a_run()))[0]
