"""The predictor's state: idempotent learning, growth with the zoo, bytes."""

import io
import json

import numpy as np
import pytest
from described import a_record, a_run, an_outcome, batch, facts

from nasoa_runtime.boundary import canonical_json, digest
from nasoa_runtime.online import state as state_module
from nasoa_runtime.online.errors import InvalidDescription, UnreadableState
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.online.state_bytes import dump, load


def with_changed_meta(content, **changes):
    with np.load(io.BytesIO(content)) as stored:
        arrays = {name: stored[name] for name in stored.files}
    meta = json.loads(arrays["meta"].tobytes()) | changes
    if "checksum" not in changes:
        del meta["checksum"]
        meta["checksum"] = digest(canonical_json(meta))
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def with_meta(**changes):
    return lambda content: with_changed_meta(content, **changes)


def test_each_request_raises_the_version_by_one_however_many_runs_it_showed():
    state = PredictorState.new("adaptive-mlp", models=["a"])
    state = state.update(a_record("uid-1", an_outcome()))
    state = state.update(a_record("uid-2", an_outcome(0.1), an_outcome(0.7, model="b")))
    assert state.version == 2


def test_a_request_is_learned_once():
    state = PredictorState.new("adaptive-mlp").update(a_record("uid-1", an_outcome()))
    assert state.applied("uid-1")
    assert state.update(a_record("uid-1", an_outcome(0.1))) is state
    assert state.update(a_record("uid-2", an_outcome(0.1))).version == 2


def test_learning_leaves_the_old_state_alone():
    state = PredictorState.new("adaptive-mlp", models=["a"])
    before = dump(state)
    state.update(a_record("uid-1", an_outcome()))
    assert dump(state) == before


def test_learning_moves_the_prediction_towards_the_outcome():
    state = PredictorState.new("adaptive-mlp", models=["a"])
    for index in range(60):
        state = state.update(a_record(f"uid-{index}", an_outcome(0.9)))
    assert state.predict(batch(a_run()))[0] == pytest.approx(0.9, abs=0.05)


def test_a_new_model_changes_the_layout_but_no_prediction_and_no_version():
    state = PredictorState.new("adaptive-mlp", models=["a"]).update(a_record("uid-1", an_outcome()))
    grown = state.with_models(["a", "b", "c"])
    runs = batch(a_run(), a_run("b"))
    np.testing.assert_allclose(grown.predict(runs), state.predict(runs), atol=1e-6)
    assert (grown.version, grown.layout_version, state.layout_version) == (1, 2, 0)


def test_a_model_without_outcomes_is_predicted_from_its_descriptors():
    state = PredictorState.new("adaptive-mlp")
    random = np.random.default_rng(0)
    for index in range(400):
        source = float(random.uniform(0.5, 0.9))
        state = state.update(
            a_record(f"{index}", an_outcome(source, model=facts(f"m{index % 8}", source_accuracy=source)))
        )
    weak, strong = state.predict(batch(*(a_run(facts("new", source_accuracy=value)) for value in (0.55, 0.85))))
    assert strong - weak > 0.1


def test_an_outcome_of_an_unknown_model_gives_it_a_column():
    state = PredictorState.new("adaptive-mlp", models=["a"]).update(a_record("uid-1", an_outcome(model="b")))
    assert state.models == ("a", "b")
    assert state.layout_version == 1


def test_an_outcome_that_is_described_otherwise_is_refused():
    run = a_run()
    less = run.model_copy(update={"values": {k: v for k, v in run.values.items() if k != "iterations"}})
    with pytest.raises(InvalidDescription, match="feature 'iterations' is absent"):
        PredictorState.new("adaptive-mlp").update(
            a_record("uid-1", an_outcome().model_copy(update={"description": less}))
        )


def test_no_outcome_is_refused():
    with pytest.raises(ValueError, match="no outcome to learn from"):
        PredictorState.new("adaptive-mlp").update(a_record("uid-1"))


def test_only_the_last_uids_are_remembered(monkeypatch):
    monkeypatch.setattr(state_module, "APPLIED_WINDOW", 3)
    state = PredictorState.new("adaptive-mlp")
    for index in range(5):
        state = state.update(a_record(f"uid-{index}", an_outcome()))
    assert state.applied_uids == ("uid-2", "uid-3", "uid-4")


@pytest.mark.parametrize("algorithm", ["adaptive-mlp", "fixed-mlp-3", "hedge"])
def test_bytes_keep_everything(algorithm):
    state = PredictorState.new(algorithm, seed=5, models=["a", "b"])
    state = state.update(a_record("uid-1", an_outcome(), an_outcome(0.3, model="c")))
    again = load(dump(state))
    assert dump(again) == dump(state)
    assert (again.version, again.applied_uids) == (1, ("uid-1",))
    assert again.layout_version == state.layout_version
    one, other = again.update(a_record("uid-2", an_outcome())), state.update(a_record("uid-2", an_outcome()))
    assert dump(one) == dump(other)


def test_bytes_load_without_pickle():
    with np.load(io.BytesIO(dump(PredictorState.new("adaptive-mlp"))), allow_pickle=False) as stored:
        assert all(stored[name].dtype != object for name in stored.files)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(lambda content: b"", "no npz file", id="empty"),
        pytest.param(lambda content: b'{"a": 1}', "no npz file", id="another format"),
        pytest.param(lambda content: content[: len(content) // 2], "no npz file", id="cut short"),
        pytest.param(with_meta(formatVersion=99), "format version 99", id="newer"),
        pytest.param(with_meta(zoo="a"), "not a PredictorMeta: zoo: Extra", id="other kind"),
        pytest.param(with_meta(checksum="0"), "does not match its checksum", id="edited"),
        pytest.param(with_meta(models=["x"]), "columns' names", id="layout"),
        pytest.param(with_meta(version=-1), "version: Input should be greater", id="version"),
        pytest.param(with_meta(algorithm="oracle"), "'oracle'", id="algorithm"),
        pytest.param(with_meta(algorithm="fixed-mlp-3"), "must be", id="parameters"),
    ],
)
def test_bytes_that_are_no_state_say_what_is_wrong(spoil, message):
    content = dump(PredictorState.new("adaptive-mlp", models=["a"]))
    with pytest.raises(UnreadableState, match=message):
        load(spoil(content))


def test_a_pickle_is_never_opened():
    buffer = io.BytesIO()
    np.savez(buffer, meta=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UnreadableState, match="no npz file of plain arrays"):
        load(buffer.getvalue())
