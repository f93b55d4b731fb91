"""S3, as all parts of the program use it: conditional writes, bounded waiting, and errors that say what to check.

What every store can do is in :mod:`nasoa_runtime.storage.objects`; the errors are in
:mod:`nasoa_runtime.storage.errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.exceptions
from botocore.config import Config

from nasoa_runtime.storage.errors import (
    CONFLICTS,
    MISSING,
    Contended,
    InvalidUriError,
    MissingObject,
    NoSuchBucket,
    S3Uri,
    StoreDenied,
    StoreError,
    StoreUnavailable,
    error_code,
    error_status,
    translated,
)
from nasoa_runtime.storage.objects import Head, Listed, Object, ObjectStore, pause

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = [
    "Contended",
    "Head",
    "InvalidUriError",
    "Listed",
    "MissingObject",
    "NoSuchBucket",
    "Object",
    "ObjectStore",
    "S3Store",
    "S3Uri",
    "StoreDenied",
    "StoreError",
    "StoreUnavailable",
    "connect",
]

CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 30
ATTEMPTS = 4
"""Of every single request, with botocore's back-off between them."""
CONFLICT_ATTEMPTS = 8
"""Of a conditional write that S3 answers with 409: another write to the object is under way."""


def connect(
    endpoint: str | None = None,
    region: str = "us-east-1",
    access_key: str | None = None,
    secret_key: str | None = None,
) -> S3Store:
    """Open a store. Threads may share it.

    Args:
        endpoint: URL of an S3-compatible service; ``None`` is AWS.
        region: region of the buckets.
        access_key: together with ``secret_key``; ``None`` takes the usual chain (environment, web identity).
        secret_key: see ``access_key``.
    """
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=READ_TIMEOUT_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        max_pool_connections=64,
        signature_version="s3v4",
        s3={"addressing_style": "path" if endpoint else "auto"},
        # Trailing checksums are an extension that several compatible services refuse.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    session = boto3.session.Session(aws_access_key_id=access_key, aws_secret_access_key=secret_key, region_name=region)
    return S3Store(session.client("s3", endpoint_url=endpoint, config=config))


class S3Store(ObjectStore):
    """Objects in S3, or in a service that is compatible with it."""

    def __init__(self, client: S3Client) -> None:
        self._client = client

    def on_request(self, heard: Callable[[str], None]) -> None:
        """Have every request told, retries too, by the name of its operation (``GetObject``)."""
        self._client.meta.events.register("before-send.s3", lambda event_name, **_: heard(event_name.split(".")[-1]))

    # --- Reading --------------------------------------------------------------------------------------------

    def get(self, uri: str) -> Object | None:
        """One ``GetObject``."""
        return self._get(uri, {})

    def get_range(self, uri: str, start: int, length: int) -> Object | None:
        """One ``GetObject`` with a ``Range``."""
        return self._get(uri, {"Range": f"bytes={start}-{start + length - 1}"})

    def _get(self, uri: str, arguments: dict[str, Any]) -> Object | None:
        at = S3Uri.parse(uri)
        with translated(at):
            try:
                answer = self._client.get_object(Bucket=at.bucket, Key=at.key, **arguments)
                return Object(answer["Body"].read(), answer["ETag"])
            except botocore.exceptions.ClientError as error:
                if error_code(error) in MISSING:
                    return None
                raise

    def head(self, uri: str) -> Head | None:
        """One ``HeadObject``."""
        at = S3Uri.parse(uri)
        with translated(at):
            try:
                answer = self._client.head_object(Bucket=at.bucket, Key=at.key)
                return Head(answer["ContentLength"], answer["ETag"])
            except botocore.exceptions.ClientError as error:
                if error_code(error) in MISSING:
                    return None
                raise

    def list(self, uri: str) -> Iterator[Listed]:
        """One ``ListObjectsV2`` for each thousand objects."""
        at = S3Uri.parse(uri)
        with translated(at):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=at.bucket, Prefix=at.key)
            for page in pages:
                for entry in page.get("Contents", ()):
                    yield Listed(entry["Key"], entry["Size"], entry["ETag"])

    # --- Writing --------------------------------------------------------------------------------------------

    def put(self, uri: str, body: bytes) -> None:
        """One ``PutObject``."""
        at = S3Uri.parse(uri)
        with translated(at):
            self._client.put_object(Bucket=at.bucket, Key=at.key, Body=body)

    def put_file(self, uri: str, path: Path) -> None:
        """One ``PutObject``, or a multipart upload where the file is large."""
        at = S3Uri.parse(uri)
        with translated(at):
            self._client.upload_file(str(path), at.bucket, at.key)

    def create(self, uri: str, body: bytes) -> bool:
        """``PutObject`` with ``If-None-Match``, again while S3 says that another write is under way."""
        at = S3Uri.parse(uri)
        for attempt in range(CONFLICT_ATTEMPTS):
            with translated(at):
                try:
                    self._client.put_object(Bucket=at.bucket, Key=at.key, Body=body, IfNoneMatch="*")
                except botocore.exceptions.ClientError as error:
                    if error_code(error) not in CONFLICTS:
                        raise
                    if error_status(error) == 412:
                        return False
                else:
                    return True
            pause(attempt)  # 409: a write is under way that may yet fail, so neither answer is known
        msg = f"{uri}: another write to it did not end in {CONFLICT_ATTEMPTS} attempts"
        raise Contended(msg)

    def replace(self, uri: str, body: bytes, etag: str) -> bool:
        """One ``PutObject`` with ``If-Match``."""
        at = S3Uri.parse(uri)
        with translated(at):
            try:
                self._client.put_object(Bucket=at.bucket, Key=at.key, Body=body, IfMatch=etag)
            except botocore.exceptions.ClientError as error:
                if error_code(error) in CONFLICTS | MISSING:
                    return False
                raise
        return True

    def copy(self, source: str, target: str) -> None:
        """One ``CopyObject``, or a multipart copy where the object is large."""
        start, end = S3Uri.parse(source), S3Uri.parse(target)
        with translated(start):
            self._client.copy({"Bucket": start.bucket, "Key": start.key}, end.bucket, end.key)

    def delete(self, uri: str) -> None:
        """One ``DeleteObject``."""
        at = S3Uri.parse(uri)
        with translated(at):
            self._client.delete_object(Bucket=at.bucket, Key=at.key)

    def create_bucket(self, bucket: str) -> None:
        """Create the bucket; one that is there already is left alone."""
        at = S3Uri.parse(f"s3://{bucket}/")
        with translated(at):
            try:
                self._client.create_bucket(Bucket=bucket)
            except botocore.exceptions.ClientError as error:
                if error_code(error) not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                    raise
