"""The S3 store of the cluster: each identity can do what it must and nothing else, and conditions really hold."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import boto3
import botocore.config
import botocore.exceptions
import pytest

SYSTEM = "nasoa-system"
TENANTS = "nasoa-tenants"
WORKERS = 8
ROUNDS = 5


def client(cluster, identity):
    keys = getattr(cluster.s3, identity)
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
    for bucket, prefix in ((SYSTEM, "zoo/"), (SYSTEM, "zoology/"), (SYSTEM, "predictors/"), (TENANTS, "")):
        client(cluster, "admin").put_object(Bucket=bucket, Key=f"{prefix}{name}", Body=b"1")
    return name


@pytest.mark.parametrize(
    ("identity", "bucket", "prefix", "reads", "writes"),
    [
        pytest.param("operator", SYSTEM, "zoo/", "ok", "ok", id="operator-zoo"),
        pytest.param("operator", SYSTEM, "predictors/", "ok", "ok", id="operator-predictors"),
        pytest.param("operator", TENANTS, "", "ok", "ok", id="operator-tenants"),
        pytest.param("reader", SYSTEM, "zoo/", "ok", 403, id="reader-zoo"),
        pytest.param("reader", SYSTEM, "zoology/", 403, 403, id="reader-beside-the-zoo"),
        pytest.param("reader", SYSTEM, "predictors/", 403, 403, id="reader-predictors"),
        pytest.param("reader", TENANTS, "", 403, 403, id="reader-tenants"),
        pytest.param("tenant", SYSTEM, "zoo/", 403, 403, id="tenant-zoo"),
        pytest.param("tenant", SYSTEM, "predictors/", 403, 403, id="tenant-predictors"),
        pytest.param("tenant", TENANTS, "", "ok", "ok", id="tenant-tenants"),
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


@pytest.mark.parametrize("identity", ["operator", "reader", "tenant"])
def test_only_the_administrator_makes_buckets(cluster, identity):
    assert outcome(client(cluster, identity).create_bucket, Bucket=f"new-{identity}") == 403


def test_a_tenant_can_not_copy_its_weights_into_the_zoo(cluster, key):
    copy = client(cluster, "tenant").copy_object
    assert outcome(copy, Bucket=SYSTEM, Key="zoo/stolen", CopySource={"Bucket": TENANTS, "Key": key}) == 403


def test_the_reader_learns_that_an_object_of_the_zoo_is_absent(cluster):
    assert outcome(client(cluster, "reader").get_object, Bucket=SYSTEM, Key="zoo/absent") == 404


def test_an_object_is_created_once(cluster, key):
    put = client(cluster, "operator").put_object
    assert outcome(put, Bucket=SYSTEM, Key=f"once/{key}", Body=b"1", IfNoneMatch="*") == "ok"
    assert outcome(put, Bucket=SYSTEM, Key=f"once/{key}", Body=b"2", IfNoneMatch="*") == 412


def test_a_stale_version_is_not_replaced(cluster, key):
    s3 = client(cluster, "operator")
    stale = s3.put_object(Bucket=SYSTEM, Key=f"state/{key}", Body=b"1")["ETag"]
    assert outcome(s3.put_object, Bucket=SYSTEM, Key=f"state/{key}", Body=b"2", IfMatch=stale) == "ok"
    assert outcome(s3.put_object, Bucket=SYSTEM, Key=f"state/{key}", Body=b"3", IfMatch=stale) == 412


def test_no_increment_is_lost_among_writers_that_race(cluster, key):
    s3 = client(cluster, "operator")
    s3.put_object(Bucket=SYSTEM, Key=f"counter/{key}", Body=b"0")

    def increment(_):
        mine = client(cluster, "operator")
        for _ in range(ROUNDS):
            while True:
                seen = mine.get_object(Bucket=SYSTEM, Key=f"counter/{key}")
                body = str(int(seen["Body"].read()) + 1).encode()
                if (
                    outcome(mine.put_object, Bucket=SYSTEM, Key=f"counter/{key}", Body=body, IfMatch=seen["ETag"])
                    == "ok"
                ):
                    break

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(increment, range(WORKERS)))
    assert s3.get_object(Bucket=SYSTEM, Key=f"counter/{key}")["Body"].read() == b"40"


def test_a_store_that_was_away_has_the_same_address_and_objects(cluster, key):
    before = cluster.s3
    cluster.stop_s3()
    with pytest.raises(botocore.exceptions.EndpointConnectionError):
        client(cluster, "operator").list_objects_v2(Bucket=SYSTEM)
    cluster.start_s3()
    assert cluster.s3 == before
    assert client(cluster, "reader").get_object(Bucket=SYSTEM, Key=f"zoo/{key}")["Body"].read() == b"1"
