"""Shared state on a real S3: writes are atomic, and the predictor learns from each request exactly once.

Crashes are cut in between any two requests to S3, at every place in turn, with several learners at once.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import described
import numpy as np
import pytest
from described import START, a_dataset, a_run, an_outcome, batch, facts

from demo.cluster import BUCKETS, IDENTITIES, OPERATOR, SYSTEM_BUCKET
from devcluster.ports import reserve
from devcluster.s3 import S3, component, connection, create_buckets, make_identities, weed
from nasoa_runtime.boundary import StepTime
from nasoa_runtime.documents.base import UnreadableDocumentError, dump, load
from nasoa_runtime.documents.outcomes import AppliedMarker, OutcomeRecord
from nasoa_runtime.online import state as states
from nasoa_runtime.online import state_bytes
from nasoa_runtime.online.description import Batch
from nasoa_runtime.storage import predictors
from nasoa_runtime.storage.predictors import learn_once, read_outcomes, read_state, rebuild
from nasoa_runtime.storage.s3 import ObjectStore, S3Store, StoreDenied, connect
from nasoa_runtime.storage.zoo import ZooModel, add_step_times, publish, read_manifest

BUCKET = SYSTEM_BUCKET
THREADS = 8


@pytest.fixture(scope="module")
def s3(tmp_path_factory) -> Iterator[S3]:
    folder: Path = tmp_path_factory.mktemp("s3")
    reservation = reserve(folder / "locks")
    make_identities(folder, IDENTITIES)
    connection_ = connection(folder, reservation.by_name, BUCKETS)
    program = component(folder, reservation.by_name, weed())
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            program.arguments, stdout=log, stderr=log, cwd=program.directory, start_new_session=True
        )
    try:
        create_buckets(connection_)
        yield connection_
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for path in program.leftovers:
            path.unlink(missing_ok=True)
        os.close(reservation.lock)


@pytest.fixture
def store(s3: S3) -> ObjectStore:
    keys = s3.keys[OPERATOR]
    return connect(s3.endpoint, s3.region, keys.access_key, keys.secret_key)


class CrashError(BaseException):
    """The process is gone: nothing after this happens. Not an Exception, so that nobody handles it."""


class MortalStore(S3Store):
    """A store whose process dies before its ``lives``-th request."""

    def __init__(self, store: S3Store, lives: int) -> None:
        super().__init__(store._client)
        self.lives = lives

    def _live(self) -> None:
        self.lives -= 1
        if self.lives < 0:
            raise CrashError

    def _get(self, uri, arguments):
        self._live()
        return super()._get(uri, arguments)

    def create(self, uri, body):
        self._live()
        return super().create(uri, body)

    def replace(self, uri, body, etag):
        self._live()
        return super().replace(uri, body, etag)


def a_record(number: int, outcomes: int = 1, uid: str | None = None) -> OutcomeRecord:
    runs = [
        an_outcome(
            0.5 + 0.01 * number,
            model=facts(f"model-{(number + run) % 3}", source_accuracy=0.9),
            dataset=a_dataset(10 + number, 50.0),
            iterations=100 * (run + 1),
            frozen_stages=number % 6,
        )
        for run in range(outcomes)
    ]
    return described.a_record(uid or f"uid-{number}", *runs, recorded_at=START + timedelta(seconds=number))


def without_iterations(record: OutcomeRecord) -> OutcomeRecord:
    """The record of a run of no steps, which has no logarithm."""
    (outcome,) = record.runs
    run = outcome.description
    none = run.model_copy(update={"values": run.values | {"iterations": 0.0}})
    return record.model_copy(update={"runs": (outcome.model_copy(update={"description": none}),)})


def probe_batch() -> Batch:
    dataset = a_dataset(12, 50.0)
    return batch(*(a_run(f"model-{n}", dataset, frozen_stages=n, iterations=300) for n in range(3)))


# --- The store


def test_one_of_many_creators_succeeds(store: ObjectStore) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        created = list(pool.map(lambda n: store.create(f"s3://{BUCKET}/once", b"%d" % n), range(40)))
    assert created.count(True) == 1
    assert store.get(f"s3://{BUCKET}/once").body == b"%d" % created.index(True)


def test_no_increment_is_lost(store: ObjectStore) -> None:
    def increment(_: int) -> None:
        store.update(f"s3://{BUCKET}/counter", lambda body: b"%d" % (int(body or b"0") + 1), attempts=200)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(increment, range(200)))
    assert store.get(f"s3://{BUCKET}/counter").body == b"200"


def test_a_stale_or_missing_object_is_not_replaced(store: ObjectStore) -> None:
    store.put(f"s3://{BUCKET}/swap", b"old")
    etag = store.get(f"s3://{BUCKET}/swap").etag
    assert store.replace(f"s3://{BUCKET}/swap", b"new", etag)
    assert not store.replace(f"s3://{BUCKET}/swap", b"newer", etag)
    assert not store.replace(f"s3://{BUCKET}/nothing", b"newer", etag)
    assert store.get(f"s3://{BUCKET}/swap").body == b"new"


@pytest.mark.parametrize("who", ["reader", "tenant"])
def test_pods_can_write_neither_zoo_nor_predictor(s3: S3, who: str) -> None:
    keys = s3.keys[who]
    store = connect(s3.endpoint, s3.region, keys.access_key, keys.secret_key)
    for key in ("zoo/fashion/manifest.json", "predictors/fashion/state.npz", "searches/uid/spec.json"):
        with pytest.raises(StoreDenied, match=r"access was denied .*: check the credentials"):
            store.put(f"s3://{BUCKET}/{key}", b"")


# --- The zoo


def test_models_and_rows_that_come_at_once_are_all_kept(store: ObjectStore) -> None:
    def model(number: int) -> ZooModel:
        return ZooModel(
            name=f"model-{number}",
            architecture="0-_16_1-1-1-1",
            weights_uri=f"s3://{BUCKET}/weights",
            weights_digest="0" * 64,
            weights_bytes=1,
            class_count=10,
            source="fashion",
            preprocessing={"image_size": 28},
            source_accuracy=0.9,
            parameters=1,
            macs=1,
        )

    def row(number: int) -> StepTime:
        return StepTime(
            device="cpu",
            product="a processor",
            count=1,
            batch_size=number + 1,
            image_size=28,
            frozen_stages=0,
            channels_last=False,
            precision="fp32",
            step_seconds=1.0,
        )

    publish(store, BUCKET, "busy", "import", [model(0)])
    with ThreadPoolExecutor(THREADS) as pool:
        jobs = [pool.submit(publish, store, BUCKET, "busy", "import", [model(n)]) for n in range(1, 5)]
        jobs += [pool.submit(add_step_times, store, BUCKET, "busy", {"model-0": [row(n)]}) for n in range(6)]
        for job in jobs:
            job.result()
    manifest = read_manifest(store, BUCKET, "busy")
    assert {m.name for m in manifest.models} == {f"model-{n}" for n in range(5)}
    assert {r.batch_size for r in manifest.model("model-0").step_times} == {1, 2, 3, 4, 5, 6}
    assert manifest.version == 11


# --- The predictor


def test_a_request_teaches_once(store: ObjectStore) -> None:
    assert read_state(store, BUCKET, "zoo-a", ["model-0"]).version == 0
    first = learn_once(store, BUCKET, "zoo-a", a_record(1), ["model-0"])
    again = learn_once(store, BUCKET, "zoo-a", a_record(2, uid="uid-1"))
    assert (first.version, first.already) == (1, False)
    assert (again.version, again.already) == (1, True)
    second = learn_once(store, BUCKET, "zoo-a", a_record(2, outcomes=3))
    assert (second.version, second.already) == (2, False)
    assert read_state(store, BUCKET, "zoo-a").applied_uids == ("uid-1", "uid-2")
    # What was recorded first counts, whatever was said later.
    uri = f"s3://{BUCKET}/predictors/zoo-a/outcomes/uid-1.json"
    assert load(OutcomeRecord, store.get(uri).body, uri) == a_record(1)
    uri = f"s3://{BUCKET}/predictors/zoo-a/applied/uid-2.json"
    assert load(AppliedMarker, store.get(uri).body, uri) == AppliedMarker(uid="uid-2", version=2)


def test_a_request_that_showed_nothing_leaves_the_predictor_alone(store: ObjectStore) -> None:
    learn_once(store, BUCKET, "zoo-b", a_record(1))
    receipt = learn_once(store, BUCKET, "zoo-b", a_record(2, outcomes=0))
    assert (receipt.version, receipt.already) == (1, False)
    assert learn_once(store, BUCKET, "zoo-b", a_record(2)).already
    assert read_state(store, BUCKET, "zoo-b").version == 1


def learn_with_crashes(store: ObjectStore, zoo: str, number: int) -> int:
    """Crash before every request to S3 in turn, starting anew each time, until one attempt comes through."""
    for lives in range(100):
        try:
            return learn_once(MortalStore(store, lives), BUCKET, zoo, a_record(number)).version
        except CrashError:
            continue
    raise AssertionError("no attempt came through")


def test_learners_that_crash_anywhere_teach_once(store: ObjectStore) -> None:
    """Eight operators at once, each request taught by two of them, each dying before each of its requests to S3."""
    uids = [f"uid-{number}" for number in range(12)]
    with ThreadPoolExecutor(THREADS) as pool:
        jobs = [
            pool.submit(learn_with_crashes, store, "zoo-c", number) for number in range(len(uids)) for _ in range(2)
        ]
        versions = [job.result() for job in jobs]
    state = read_state(store, BUCKET, "zoo-c")
    assert state.version == len(uids)
    assert sorted(state.applied_uids) == sorted(uids)
    assert versions[::2] == versions[1::2]
    assert sorted(versions[::2]) == list(range(1, len(uids) + 1))
    markers = {listed.key.rpartition("/")[2] for listed in store.list(f"s3://{BUCKET}/predictors/zoo-c/applied/")}
    assert markers == {f"{uid}.json" for uid in uids}


@pytest.mark.parametrize("lives", range(6))
def test_a_crash_at_any_step_is_made_good_by_the_next_attempt(store: ObjectStore, lives: int) -> None:
    zoo = f"zoo-d{lives}"
    learn_once(store, BUCKET, zoo, a_record(0))
    with contextlib.suppress(CrashError):
        learn_once(MortalStore(store, lives), BUCKET, zoo, a_record(1))
    assert learn_once(store, BUCKET, zoo, a_record(1)).version == 2
    state = read_state(store, BUCKET, zoo)
    assert (state.version, state.applied_uids) == (2, ("uid-0", "uid-1"))
    assert store.get(f"s3://{BUCKET}/predictors/{zoo}/applied/uid-1.json") is not None


def test_what_the_state_forgets_has_a_marker_even_after_a_crash(store: ObjectStore, monkeypatch) -> None:
    monkeypatch.setattr(states, "APPLIED_WINDOW", 3)
    monkeypatch.setattr(predictors, "APPLIED_WINDOW", 3)
    for number in range(3):
        learn_once(store, BUCKET, "zoo-e", a_record(number))
        store.delete(f"s3://{BUCKET}/predictors/zoo-e/applied/uid-{number}.json")  # As if it had crashed just before.
    for number in range(3, 6):
        learn_once(store, BUCKET, "zoo-e", a_record(number))
    assert read_state(store, BUCKET, "zoo-e").applied_uids == ("uid-3", "uid-4", "uid-5")
    for number in range(3):
        receipt = learn_once(store, BUCKET, "zoo-e", a_record(number))
        assert (receipt.version, receipt.already) == (number + 1, True)
    assert read_state(store, BUCKET, "zoo-e").version == 6


def test_an_unreadable_state_is_named_and_never_overwritten(store: ObjectStore) -> None:
    store.put(f"s3://{BUCKET}/predictors/zoo-f/state.npz", b"\x80\x04 no npz")
    for action in (
        lambda: read_state(store, BUCKET, "zoo-f"),
        lambda: learn_once(store, BUCKET, "zoo-f", a_record(1)),
    ):
        with pytest.raises(UnreadableDocumentError, match=rf"s3://{BUCKET}/predictors/zoo-f/state\.npz can't be read"):
            action()
    assert store.get(f"s3://{BUCKET}/predictors/zoo-f/state.npz").body == b"\x80\x04 no npz"
    assert list(store.list(f"s3://{BUCKET}/predictors/zoo-f/applied/")) == []


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"{", id="no JSON"),
        pytest.param(dump(a_record(1)).replace(b"0.51", b"0.99"), id="edited"),
        pytest.param(dump(a_record(2)), id="another request's"),
        pytest.param(dump(without_iterations(a_record(1))), id="no iterations"),
    ],
)
def test_an_unreadable_record_is_named_and_teaches_nothing(store: ObjectStore, body: bytes) -> None:
    store.put(f"s3://{BUCKET}/predictors/zoo-g/outcomes/uid-1.json", body)
    with pytest.raises(UnreadableDocumentError, match=r"outcomes/uid-1\.json can't be read"):
        learn_once(store, BUCKET, "zoo-g", a_record(1))
    assert store.get(f"s3://{BUCKET}/predictors/zoo-g/state.npz") is None


def test_a_rebuilt_predictor_predicts_the_same(store: ObjectStore) -> None:
    for number in (4, 2, 9, 1):  # Neither the order of the UIDs nor that of the times.
        learn_once(store, BUCKET, "zoo-h", a_record(number, outcomes=2))
    before = read_state(store, BUCKET, "zoo-h")
    assert [record.uid for record in read_outcomes(store, BUCKET, "zoo-h")] == ["uid-4", "uid-2", "uid-9", "uid-1"]
    rebuilt = rebuild(store, BUCKET, "zoo-h")
    assert rebuilt.applied_uids == before.applied_uids
    assert np.array_equal(rebuilt.predict(probe_batch()), before.predict(probe_batch()))
    assert read_state(store, BUCKET, "zoo-h").version == 4
    kept = list(store.list(f"s3://{BUCKET}/predictors/zoo-h/replaced/"))
    assert [store.get(f"s3://{BUCKET}/{listed.key}").body for listed in kept] == [state_bytes.dump(before)]


def test_an_unreadable_state_is_rebuilt_on_request_and_kept_aside(store: ObjectStore) -> None:
    for number in range(3):
        learn_once(store, BUCKET, "zoo-i", a_record(number))
    store.put(f"s3://{BUCKET}/predictors/zoo-i/state.npz", b"broken")
    assert rebuild(store, BUCKET, "zoo-i").applied_uids == ("uid-0", "uid-1", "uid-2")
    kept = [listed.key for listed in store.list(f"s3://{BUCKET}/predictors/zoo-i/replaced/")]
    assert [store.get(f"s3://{BUCKET}/{key}").body for key in kept] == [b"broken"]


def test_requests_learned_during_a_rebuild_are_not_lost(store: ObjectStore) -> None:
    for number in range(4):
        learn_once(store, BUCKET, "zoo-j", a_record(number))
    with ThreadPoolExecutor(THREADS) as pool:
        jobs = [pool.submit(rebuild, store, BUCKET, "zoo-j") for _ in range(2)]
        jobs += [pool.submit(learn_with_crashes, store, "zoo-j", number) for number in range(4, 10) for _ in range(2)]
        for job in jobs:
            job.result()
    state = read_state(store, BUCKET, "zoo-j")
    assert state.version == 10
    assert sorted(state.applied_uids) == [f"uid-{number}" for number in range(10)]
