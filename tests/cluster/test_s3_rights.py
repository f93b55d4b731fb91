"""What operator, reader and tenants may do in S3, as docs/admins.md asks for it: what each must, and nothing else."""

from __future__ import annotations

import uuid

import boto3
import botocore.config
import botocore.exceptions
import pytest

from demo.cluster import SYSTEM_BUCKET, TENANT_BUCKET


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
    for bucket, prefix in (
        (SYSTEM_BUCKET, "zoo/"),
        (SYSTEM_BUCKET, "zoology/"),
        (SYSTEM_BUCKET, "predictors/"),
        (TENANT_BUCKET, ""),
    ):
        client(cluster, "admin").put_object(Bucket=bucket, Key=f"{prefix}{name}", Body=b"1")
    return name


@pytest.mark.parametrize(
    ("identity", "bucket", "prefix", "reads", "writes"),
    [
        pytest.param("operator", SYSTEM_BUCKET, "zoo/", "ok", "ok", id="operator-zoo"),
        pytest.param("operator", SYSTEM_BUCKET, "predictors/", "ok", "ok", id="operator-predictors"),
        pytest.param("operator", TENANT_BUCKET, "", "ok", "ok", id="operator-tenants"),
        pytest.param("reader", SYSTEM_BUCKET, "zoo/", "ok", 403, id="reader-zoo"),
        pytest.param("reader", SYSTEM_BUCKET, "zoology/", 403, 403, id="reader-beside-the-zoo"),
        pytest.param("reader", SYSTEM_BUCKET, "predictors/", 403, 403, id="reader-predictors"),
        pytest.param("reader", TENANT_BUCKET, "", 403, 403, id="reader-tenants"),
        pytest.param("tenant", SYSTEM_BUCKET, "zoo/", 403, 403, id="tenant-zoo"),
        pytest.param("tenant", SYSTEM_BUCKET, "predictors/", 403, 403, id="tenant-predictors"),
        pytest.param("tenant", TENANT_BUCKET, "", "ok", "ok", id="tenant-tenants"),
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
    assert (
        outcome(copy, Bucket=SYSTEM_BUCKET, Key="zoo/stolen", CopySource={"Bucket": TENANT_BUCKET, "Key": key}) == 403
    )


def test_the_reader_learns_that_an_object_of_the_zoo_is_absent(cluster):
    assert outcome(client(cluster, "reader").get_object, Bucket=SYSTEM_BUCKET, Key="zoo/absent") == 404
