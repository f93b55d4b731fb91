"""The store against moto's server, and the store in memory, which must do the same.

That conditional writes are atomic is shown in tests/cluster on a real service.
"""

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from memory.store import MemoryStore
from s3 import an_empty_store

from nasoa_runtime.storage import objects, s3
from nasoa_runtime.storage.s3 import (
    Contended,
    InvalidUriError,
    MissingObject,
    NoSuchBucket,
    ObjectStore,
    S3Store,
    S3Uri,
    StoreDenied,
    StoreError,
    StoreUnavailable,
    connect,
)


@pytest.fixture(params=["moto's server", "memory"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    if request.param == "memory":
        return MemoryStore("state")
    return an_empty_store(request.getfixturevalue("endpoint"), "state")


@pytest.fixture
def served(endpoint: str) -> S3Store:
    return an_empty_store(endpoint, "state")


@pytest.mark.parametrize(
    ("text", "bucket", "key"),
    [
        pytest.param("s3://data/a/b.json", "data", "a/b.json", id="an object"),
        pytest.param("s3://data/a/", "data", "a/", id="a prefix"),
        pytest.param("s3://data", "data", "", id="a bucket"),
        pytest.param("s3://data/a..b", "data", "a..b", id="two dots within a name"),
    ],
)
def test_an_address_is_taken_apart(text: str, bucket: str, key: str) -> None:
    assert S3Uri.parse(text) == S3Uri(bucket, key)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("http://data/a", id="another scheme"),
        pytest.param("s3://ab/a", id="two characters"),
        pytest.param("s3://Data/a", id="capitals"),
        pytest.param("s3://data/a/../b", id="a step up"),
        pytest.param("s3://data/a\nb", id="a line break"),
        pytest.param("s3:///a", id="no bucket"),
    ],
)
def test_a_wrong_address_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(InvalidUriError, match=r"s3://BUCKET/KEY|must not be a part"):
        S3Uri.parse(text)


def test_absence_is_a_value(store: ObjectStore) -> None:
    assert store.get("s3://state/nothing") is None
    assert store.head("s3://state/nothing") is None
    assert list(store.list("s3://state/nothing")) == []
    store.delete("s3://state/nothing")


def test_an_object_comes_back_as_it_was_put(store: ObjectStore, tmp_path) -> None:
    store.put("s3://state/a/b", b"0123456789")
    assert store.get("s3://state/a/b").body == b"0123456789"
    assert store.head("s3://state/a/b").size == 10
    assert store.get_range("s3://state/a/b", 2, 3).body == b"234"
    assert store.get_range("s3://state/a/b", 8, 20).body == b"89"
    assert store.get_range("s3://state/a/c", 0, 3) is None
    (tmp_path / "b").write_bytes(b"0123456789")
    store.put_file("s3://state/a/c", tmp_path / "b")
    store.copy("s3://state/a/c", "s3://state/d")
    assert [(listed.key, listed.size) for listed in store.list("s3://state/a/")] == [("a/b", 10), ("a/c", 10)]
    assert store.get("s3://state/d").body == b"0123456789"


def test_a_range_behind_the_end_of_an_object_is_an_error(store: ObjectStore) -> None:
    store.put("s3://state/empty", b"")
    with pytest.raises(StoreError):
        store.get_range("s3://state/empty", 0, 10)


def test_listing_goes_on_behind_a_full_page(served: S3Store, monkeypatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")  # A server answers with a thousand, unless told otherwise.
    pages = []
    served.on_request(pages.append)
    for number in range(25):
        served.put(f"s3://state/many/{number:04d}", b"")
    assert [listed.key for listed in served.list("s3://state/many/")] == [f"many/{number:04d}" for number in range(25)]
    assert pages.count("ListObjectsV2") == 3


def test_what_was_created_first_counts(store: ObjectStore) -> None:
    assert store.create("s3://state/once", b"first")
    assert not store.create("s3://state/once", b"second")
    assert store.create_or_read("s3://state/once", b"third") == b"first"
    assert store.create_or_read("s3://state/other", b"fourth") == b"fourth"


def test_a_stale_etag_replaces_nothing(store: ObjectStore) -> None:
    store.put("s3://state/swap", b"old")
    etag = store.get("s3://state/swap").etag
    assert store.replace("s3://state/swap", b"new", etag)
    assert not store.replace("s3://state/swap", b"newer", etag)
    assert not store.replace("s3://state/gone", b"newer", etag)
    assert store.get("s3://state/swap").body == b"new"


def test_an_update_that_changes_nothing_writes_nothing(store: ObjectStore) -> None:
    assert store.update("s3://state/none", lambda body: None) is None
    assert store.head("s3://state/none") is None
    assert store.update("s3://state/some", lambda body: b"1" if body is None else None) == b"1"
    assert store.update("s3://state/some", lambda body: b"1" if body is None else None) == b"1"


def test_an_update_starts_again_when_another_was_faster(store: ObjectStore) -> None:
    seen: list[bytes | None] = []

    def change(body: bytes | None) -> bytes:
        seen.append(body)
        if len(seen) == 1:
            store.put("s3://state/race", b"other")
        return (body or b"") + b"+ours"

    assert store.update("s3://state/race", change) == b"other+ours"
    assert seen == [None, b"other"]


def test_an_update_gives_up_when_others_are_faster_every_time(store: ObjectStore, monkeypatch) -> None:
    monkeypatch.setattr(objects, "LONGEST_PAUSE_SECONDS", 0.0)

    def change(body: bytes | None) -> bytes:
        store.put("s3://state/busy", (body or b"") + b".")
        return b"ours"

    with pytest.raises(Contended, match="other writers were faster 3 times"):
        store.update("s3://state/busy", change, attempts=3)


@pytest.mark.parametrize(
    "action",
    [
        pytest.param(lambda store: store.get("s3://nowhere/a"), id="get"),
        pytest.param(lambda store: store.put("s3://nowhere/a", b""), id="put"),
        pytest.param(lambda store: store.create("s3://nowhere/a", b""), id="create"),
        pytest.param(lambda store: list(store.list("s3://nowhere/a")), id="list"),
    ],
)
def test_a_missing_bucket_is_named(store: ObjectStore, action) -> None:
    with pytest.raises(NoSuchBucket, match="no bucket 'nowhere': create it, or correct the address"):
        action(store)


def test_a_missing_object_to_copy_is_named(store: ObjectStore) -> None:
    with pytest.raises(MissingObject, match="s3://state/gone: there is no such object"):
        store.copy("s3://state/gone", "s3://state/target")


def test_a_service_that_is_down_is_a_temporary_error(monkeypatch) -> None:
    monkeypatch.setattr(s3, "ATTEMPTS", 1)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        store = connect(f"http://127.0.0.1:{unused.getsockname()[1]}", access_key="a-key", secret_key="a-secret")
        with pytest.raises(StoreUnavailable, match=r"S3 does not answer.*Check the endpoint"):
            store.get("s3://state/a")


def test_without_credentials_the_error_says_which_variables_to_set(endpoint: str, monkeypatch, tmp_path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StoreDenied, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        connect(endpoint).get("s3://state/a")


def test_threads_may_share_a_store(served: S3Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda number: served.create("s3://state/shared", b"%d" % number), range(8)))
    assert created.count(True) >= 1
    assert served.get("s3://state/shared") is not None


def test_requests_are_told_by_their_operation(served: S3Store) -> None:
    heard: list[str] = []
    served.on_request(heard.append)
    served.create("s3://state/a", b"1")
    served.get("s3://state/a")
    list(served.list("s3://state/"))
    assert heard == ["PutObject", "GetObject", "ListObjectsV2"]
