"""S3, as all parts of the program use it: conditional writes, bounded waiting, and errors that say what to check.

The errors are in :mod:`nasoa_runtime.storage.errors`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
LONGEST_PAUSE_SECONDS = 0.5
COPY_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Object:
    """An object's content, and the ETag that :meth:`ObjectStore.replace` compares."""

    body: bytes
    etag: str


@dataclass(frozen=True)
class Head:
    """An object's size and ETag."""

    size: int
    etag: str


@dataclass(frozen=True)
class Listed:
    """One object of a listing; ``key`` is its whole key in the bucket."""

    key: str
    size: int
    etag: str


def connect(
    endpoint: str | None = None,
    region: str = "us-east-1",
    access_key: str | None = None,
    secret_key: str | None = None,
) -> ObjectStore:
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
    return ObjectStore(session.client("s3", endpoint_url=endpoint, config=config))


class ObjectStore:
    """Objects by their ``s3://bucket/key`` addresses. All methods may raise the errors of this module."""

    def __init__(self, client: S3Client) -> None:
        self._client = client

    def on_request(self, heard: Callable[[str], None]) -> None:
        """Have every request told, retries too, by the name of its operation (``GetObject``)."""
        self._client.meta.events.register("before-send.s3", lambda event_name, **_: heard(event_name.split(".")[-1]))

    # --- Reading --------------------------------------------------------------------------------------------

    def get(self, uri: str) -> Object | None:
        """The object, or ``None`` where there is none."""
        return self._get(uri, {})

    def get_range(self, uri: str, start: int, length: int) -> Object | None:
        """``length`` bytes from ``start`` on (fewer at the end of the object), or ``None`` without an object."""
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
        """Size and ETag, or ``None`` where there is no object (or no bucket: S3 does not say which)."""
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
        """All objects whose key starts with the address's key, in order of their keys."""
        at = S3Uri.parse(uri)
        with translated(at):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=at.bucket, Prefix=at.key)
            for page in pages:
                for entry in page.get("Contents", ()):
                    yield Listed(entry["Key"], entry["Size"], entry["ETag"])

    def download(self, uri: str, path: Path) -> None:
        """Write the object to ``path``, which appears whole or not at all.

        Raises:
            MissingObject: there is no such object.
        """
        at = S3Uri.parse(uri)
        partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
        try:
            with translated(at):
                answer = self._client.get_object(Bucket=at.bucket, Key=at.key)
                with partial.open("wb") as file:
                    for chunk in answer["Body"].iter_chunks(COPY_CHUNK_BYTES):
                        file.write(chunk)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    # --- Writing --------------------------------------------------------------------------------------------

    def put(self, uri: str, body: bytes) -> None:
        """Write the object, whatever was there. For objects with one writer only."""
        at = S3Uri.parse(uri)
        with translated(at):
            self._client.put_object(Bucket=at.bucket, Key=at.key, Body=body)

    def put_file(self, uri: str, path: Path) -> None:
        """Write the file's content, in parts where it is large, whatever was there."""
        at = S3Uri.parse(uri)
        with translated(at):
            self._client.upload_file(str(path), at.bucket, at.key)

    def create(self, uri: str, body: bytes) -> bool:
        """Write the object if there is none; ``False`` where there is one, which then stays as it is.

        A retry after a lost answer finds the object of the first try and gives ``False`` too: what counts is what
        :meth:`create_or_read` reads back.
        """
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
            _pause(attempt)  # 409: a write is under way that may yet fail, so neither answer is known
        msg = f"{uri}: another write to it did not end in {CONFLICT_ATTEMPTS} attempts"
        raise Contended(msg)

    def create_or_read(self, uri: str, body: bytes) -> bytes:
        """Write the object if there is none, and return the content that counts: ours, or what was there."""
        if self.create(uri, body):
            return body
        found = self.get(uri)
        if found is None:
            msg = f"{uri} existed and was removed meanwhile; nothing may remove it"
            raise StoreUnavailable(msg)
        return found.body

    def replace(self, uri: str, body: bytes, etag: str) -> bool:
        """Write the object if its ETag still is ``etag``; ``False`` where it is another, or the object is gone."""
        at = S3Uri.parse(uri)
        with translated(at):
            try:
                self._client.put_object(Bucket=at.bucket, Key=at.key, Body=body, IfMatch=etag)
            except botocore.exceptions.ClientError as error:
                if error_code(error) in CONFLICTS | MISSING:
                    return False
                raise
        return True

    def update(self, uri: str, change: Callable[[bytes | None], bytes | None], attempts: int = 20) -> bytes | None:
        """Compare-and-swap: read, ``change``, write back if nobody wrote meanwhile, else from the start.

        Args:
            uri: the object.
            change: gets the content (``None`` without an object) and gives the new one, or ``None`` to leave it.
                It may be called often, and must know its own change again when it finds it made: an answer can get
                lost after the write.
            attempts: how often other writers may be faster.

        Returns:
            The content that is now there.

        Raises:
            Contended: others were faster every time.
        """
        for attempt in range(attempts):
            found = self.get(uri)
            body = change(None if found is None else found.body)
            if body is None:
                return None if found is None else found.body
            if self.create(uri, body) if found is None else self.replace(uri, body, found.etag):
                return body
            _pause(attempt)
        msg = f"{uri}: other writers were faster {attempts} times"
        raise Contended(msg)

    def copy(self, source: str, target: str) -> None:
        """Copy within S3, without the content passing through here.

        Raises:
            MissingObject: there is no ``source``.
        """
        start, end = S3Uri.parse(source), S3Uri.parse(target)
        with translated(start):
            self._client.copy({"Bucket": start.bucket, "Key": start.key}, end.bucket, end.key)

    def delete(self, uri: str) -> None:
        """Remove the object; without one nothing happens."""
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


def _pause(attempt: int) -> None:
    """Wait a random time that doubles with each attempt, so that writers fall out of step."""
    longest = min(LONGEST_PAUSE_SECONDS, 0.01 * 2**attempt)
    time.sleep(longest * secrets.randbelow(1000) / 1000)
