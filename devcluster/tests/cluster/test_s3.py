"""The S3 store of the cluster: each identity can do what it must and nothing else, and conditions really hold."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import boto3
import botocore.config
import botocore.exceptions
import pytest

SHARED, OWN = "shared", "own"
WORKERS = 8
ROUNDS = 5


def client(cluster, identity):
    keys = cluster.s3.keys[identity]
    return boto3.client(
        "s3",
        endpoint_url=cluster.s3.endpoint,
        region_name=cluster.s3.region,
        aws_access_key_id=keys.access_key,
        aws_secret_access_key=keys.secret_key,
        config=botocore.config.Config(retries={"max_attempts": 0}, connect_timeout=2, read_timeout=30),
    )


def outcome(operation, **arguments):
    """``ok``, or the HTTP status of the refusal."""
    try:
        operation(**arguments)
    except botocore.exceptions.ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"]
    return "ok"


@pytest.fixture(scope="module")
def key(cluster):
    """The last part of the keys that are written here; objects of this name are under each prefix that matters."""
    name = f"test-{uuid.uuid4().hex}"
    for bucket, prefix in ((SHARED, "open/"), (SHARED, "opened/"), (SHARED, "closed/"), (OWN, "")):
        client(cluster, "admin").put_object(Bucket=bucket, Key=f"{prefix}{name}", Body=b"1")
    return name


@pytest.mark.parametrize(
    ("identity", "bucket", "prefix", "reads", "writes"),
    [
        pytest.param("owner", SHARED, "open/", "ok", "ok", id="both buckets: a prefix"),
        pytest.param("owner", SHARED, "closed/", "ok", "ok", id="both buckets: another prefix"),
        pytest.param("owner", OWN, "", "ok", "ok", id="both buckets: the other one"),
        pytest.param("reader", SHARED, "open/", "ok", 403, id="reading below a prefix"),
        pytest.param("reader", SHARED, "opened/", 403, 403, id="reading below a prefix: one that begins like it"),
        pytest.param("reader", SHARED, "closed/", 403, 403, id="reading below a prefix: another"),
        pytest.param("reader", OWN, "", 403, 403, id="reading below a prefix: another bucket"),
        pytest.param("guest", SHARED, "open/", 403, 403, id="one bucket: a prefix of the other"),
        pytest.param("guest", SHARED, "closed/", 403, 403, id="one bucket: another prefix of the other"),
        pytest.param("guest", OWN, "", "ok", "ok", id="one bucket"),
    ],
)
def test_an_identity_can_do_what_it_must_and_no_more(cluster, key, identity, bucket, prefix, reads, writes):
    s3 = client(cluster, identity)
    assert outcome(s3.get_object, Bucket=bucket, Key=f"{prefix}{key}") == reads
    assert outcome(s3.head_object, Bucket=bucket, Key=f"{prefix}{key}") == reads
    assert outcome(s3.list_objects_v2, Bucket=bucket, Prefix=prefix) == reads
    assert outcome(s3.put_object, Bucket=bucket, Key=f"{prefix}{key}-{identity}", Body=b"2") == writes
    assert outcome(s3.delete_object, Bucket=bucket, Key=f"{prefix}{key}-{identity}") == (
        "ok" if writes == "ok" else 403
    )


@pytest.mark.parametrize("identity", ["owner", "reader", "guest"])
def test_only_the_administrator_makes_buckets(cluster, identity):
    assert outcome(client(cluster, identity).create_bucket, Bucket=f"new-{identity}") == 403


def test_nobody_copies_objects_to_where_it_may_not_write(cluster, key):
    copy = client(cluster, "guest").copy_object
    assert outcome(copy, Bucket=SHARED, Key="open/stolen", CopySource={"Bucket": OWN, "Key": key}) == 403


def test_whoever_may_list_learns_that_an_object_is_absent(cluster):
    assert outcome(client(cluster, "reader").get_object, Bucket=SHARED, Key="open/absent") == 404


def test_an_object_is_created_once(cluster, key):
    put = client(cluster, "owner").put_object
    assert outcome(put, Bucket=SHARED, Key=f"once/{key}", Body=b"1", IfNoneMatch="*") == "ok"
    assert outcome(put, Bucket=SHARED, Key=f"once/{key}", Body=b"2", IfNoneMatch="*") == 412


def test_a_stale_version_is_not_replaced(cluster, key):
    s3 = client(cluster, "owner")
    stale = s3.put_object(Bucket=SHARED, Key=f"state/{key}", Body=b"1")["ETag"]
    assert outcome(s3.put_object, Bucket=SHARED, Key=f"state/{key}", Body=b"2", IfMatch=stale) == "ok"
    assert outcome(s3.put_object, Bucket=SHARED, Key=f"state/{key}", Body=b"3", IfMatch=stale) == 412


def test_no_increment_is_lost_among_writers_that_race(cluster, key):
    s3 = client(cluster, "owner")
    s3.put_object(Bucket=SHARED, Key=f"counter/{key}", Body=b"0")

    def increment(_):
        mine = client(cluster, "owner")
        for _ in range(ROUNDS):
            while True:
                seen = mine.get_object(Bucket=SHARED, Key=f"counter/{key}")
                body = str(int(seen["Body"].read()) + 1).encode()
                if (
                    outcome(mine.put_object, Bucket=SHARED, Key=f"counter/{key}", Body=body, IfMatch=seen["ETag"])
                    == "ok"
                ):
                    break

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(increment, range(WORKERS)))
    assert s3.get_object(Bucket=SHARED, Key=f"counter/{key}")["Body"].read() == b"40"


def test_a_store_that_was_away_has_the_same_address_and_objects(cluster, key):
    before = cluster.s3
    cluster.stop_s3()
    with pytest.raises(botocore.exceptions.EndpointConnectionError):
        client(cluster, "owner").list_objects_v2(Bucket=SHARED)
    cluster.start_s3()
    assert cluster.s3 == before
    assert client(cluster, "reader").get_object(Bucket=SHARED, Key=f"open/{key}")["Body"].read() == b"1"
