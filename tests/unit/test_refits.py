"""Trees fitted anew to outcomes, in S3: when that is due, what they see, and that a rebuild adopts them again."""

from datetime import timedelta

import numpy as np
import pytest
from described import START, a_record, a_run, an_outcome, batch
from s3 import an_empty_store

from nasoa_runtime.documents.base import UnreadableDocumentError, load
from nasoa_runtime.documents.keys import PredictorKeys
from nasoa_runtime.documents.predictor import AdoptionMarker
from nasoa_runtime.online import hedged, state_bytes
from nasoa_runtime.online.forest import Forest, digest_of, fit_forest
from nasoa_runtime.online.warm_start import packaged_experience
from nasoa_runtime.storage import outcomes, refits
from nasoa_runtime.storage.outcomes import PredictorObjects
from nasoa_runtime.storage.predictors import learn_once, read_state, rebuild
from nasoa_runtime.storage.refits import adopt, known_through, refit

FIRST = 2
"""The first refit in these tests."""


@pytest.fixture(autouse=True)
def _early_refits_of_few_runs(monkeypatch):
    """Refits at versions 2, 4, 8, ... that see a tenth of the packaged records, as fitting them all takes a while."""
    monkeypatch.setattr(hedged, "FIRST_REFIT", FIRST)
    monkeypatch.setattr(outcomes, "_KEPT", {})
    known = packaged_experience()
    few = known.subset(np.arange(len(known)) % 10 == 0)
    monkeypatch.setattr(refits, "packaged_experience", lambda: few)


@pytest.fixture
def store(endpoint):
    return an_empty_store(endpoint, "sys")


@pytest.fixture
def objects(store):
    return PredictorObjects(store, "sys", PredictorKeys("fashion"))


def learn(store, number, accuracy=0.5):
    record = a_record(f"uid-{number}", an_outcome(accuracy), recorded_at=START + timedelta(hours=number))
    return learn_once(store, "sys", "fashion", record)


def state_of(store):
    return read_state(store, "sys", "fashion")


def test_learning_says_when_a_refit_is_due_and_it_stays_due_until_one_is_adopted(store):
    assert [learn(store, number).refit_through for number in range(3)] == [None, 2, 2]
    assert refit(store, "sys", "fashion") == 2
    assert refit(store, "sys", "fashion") is None
    assert state_of(store).fitted_through == 2
    assert [learn(store, number).refit_through for number in (3, 4)] == [4, 4]


def test_a_refit_sees_the_packaged_records_and_just_what_was_learned_by_its_version(store, objects):
    for number in range(5):
        learn(store, number)
    known = known_through(objects, 4)
    packaged = len(refits.packaged_experience())
    assert list(known.requests[packaged:]) == ["uid-0", "uid-1", "uid-2", "uid-3"]


def test_an_adoption_is_recorded_leaves_the_version_and_changes_predictions(store, objects):
    for number in range(2):
        learn(store, number)
    before = state_of(store)
    refit(store, "sys", "fashion")
    after = state_of(store)
    assert (after.version, after.applied_uids) == (before.version, before.applied_uids)
    assert after.predict(batch(a_run()))[0] != before.predict(batch(a_run()))[0]
    (adoption,) = after.adoptions
    assert (adoption.through, adoption.version) == (2, 2)
    assert adoption.digest == after.predictor.forest_digest
    uri = objects.uri(objects.keys.adoption(2))
    assert load(AdoptionMarker, store.get(uri).body, uri).adoption == adoption
    stored = store.get(objects.uri(objects.keys.trees(adoption.digest))).body
    assert digest_of(stored) == adoption.digest
    assert Forest.load(stored).experts[0].trees == after.predictor.experts[0].trees


def test_of_two_operators_that_refit_one_adopts(store, objects):
    for number in range(2):
        learn(store, number)
    forest = fit_forest(known_through(objects, 2), 0)
    assert adopt(objects, forest, 2)
    once = store.get(objects.state_uri).body
    assert not adopt(objects, forest, 2)
    assert store.get(objects.state_uri).body == once


def test_a_request_that_is_learned_meanwhile_is_not_lost(store, objects, monkeypatch):
    for number in range(2):
        learn(store, number)
    forest = fit_forest(known_through(objects, 2), 0)
    swap, calls = PredictorObjects.swap, []

    def late(self, before, after):
        if not calls:
            calls.append(True)
            learn(store, 2)
        return swap(self, before, after)

    monkeypatch.setattr(PredictorObjects, "swap", late)
    assert adopt(objects, forest, 2)
    state = state_of(store)
    assert (state.version, state.fitted_through, state.adoptions[0].version) == (3, 2, 3)


@pytest.mark.parametrize("state_is_readable", [True, False])
def test_a_rebuild_adopts_the_same_trees_at_the_same_versions(store, objects, state_is_readable):
    for number in range(2):
        learn(store, number, 0.2)
    learn(store, 2, 0.3)
    refit(store, "sys", "fashion")
    learn(store, 3, 0.4)
    before = state_of(store)
    if not state_is_readable:
        store.put(objects.state_uri, b"spoiled")
    after = rebuild(store, "sys", "fashion")
    assert state_bytes.dump(after) == state_bytes.dump(before)
    assert after.adoptions[0].version == 3


def test_trees_that_are_gone_or_changed_are_named(store, objects):
    for number in range(2):
        learn(store, number)
    refit(store, "sys", "fashion")
    uri = objects.uri(objects.keys.trees(state_of(store).predictor.forest_digest))
    body = store.get(uri).body
    for spoiled in (None, body[:-4]):
        outcomes._KEPT.clear()
        if spoiled is None:
            store.delete(uri)
        else:
            store.put(uri, spoiled)
        with pytest.raises(UnreadableDocumentError) as raised:
            state_of(store)
        assert raised.value.uri == uri


def test_a_state_whose_trees_are_the_packaged_ones_is_read_without_asking_for_them(store, objects):
    learn(store, 0)
    store.delete(objects.uri(objects.keys.trees(state_of(store).predictor.forest_digest)))
    assert state_of(store).version == 1


def test_two_adoptions_at_one_version_are_both_made_again_in_their_order(store, objects):
    for number in range(4):
        learn(store, number)
    for through in (2, 4):
        assert adopt(objects, fit_forest(known_through(objects, through), 0), through)
    before = state_of(store)
    assert [(adoption.through, adoption.version) for adoption in before.adoptions] == [(2, 4), (4, 4)]
    assert state_bytes.dump(rebuild(store, "sys", "fashion")) == state_bytes.dump(before)


def test_only_the_trees_that_were_read_last_are_kept_in_memory(store, objects, monkeypatch):
    monkeypatch.setattr(outcomes, "MOST_KEPT", 2)
    for number in range(2):
        learn(store, number)
    known = known_through(objects, 2)
    digests = [objects.keep_trees(fit_forest(known, seed).dump()) for seed in range(3)]
    for digest in (*digests[:2], digests[0], digests[2]):
        objects.forest(digest)
    assert list(outcomes._KEPT) == [digests[0], digests[2]]
