"""S3, as all parts of the program use it: conditional writes, bounded waiting, and errors that say what to check.

Two kinds of error decide about trying again: :class:`StoreUnavailable` (the same call may succeed later) and
everything else under :class:`StoreError` (it will not, before somebody changes something).
"""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.exceptions
from boto3.exceptions import S3UploadFailedError
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 30
ATTEMPTS = 4
"""Of every single request, with botocore's back-off between them."""
CONFLICT_ATTEMPTS = 8
"""Of a conditional write that S3 answers with 409: another write to the object is under way."""
LONGEST_PAUSE_SECONDS = 0.5
COPY_CHUNK_BYTES = 1 << 20

_URI = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<key>[^\x00-\x1f\x7f]{0,1024}))?")
_MISSING = {"NoSuchKey", "404", "NotFound"}
_CONFLICTS = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}
_DENIED = {
    "AccessDenied",
    "AllAccessDisabled",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "401",
    "403",
}
_TEMPORARY = {"InternalError", "OperationAborted", "RequestTimeout", "ServiceUnavailable", "SlowDown", "429"}
_NO_ANSWER = (
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.ConnectionError,
    botocore.exceptions.IncompleteReadError,
)


class StoreError(Exception):
    """What S3 refused; the message names the object or bucket and what to check."""


class StoreUnavailable(StoreError):  # noqa: N818 - named for the state, as its callers speak of it
    """S3 did not answer, or asked to come back later."""


class Contended(StoreUnavailable):
    """Other writers were faster in every attempt of a compare-and-swap."""


class StoreDenied(StoreError):  # noqa: N818
    """The identity may not do this, or is none."""


class NoSuchBucket(StoreError):  # noqa: N818
    """There is no such bucket."""


class MissingObject(StoreError):  # noqa: N818
    """An object that has to exist does not."""


class InvalidUriError(StoreError, ValueError):
    """The text is no ``s3://bucket/key``."""


class UnreadableObjectError(StoreError):
    """An object's content is not what it should be. Nobody may overwrite it: it may be somebody's only copy."""

    def __init__(self, uri: str, reason: str) -> None:
        super().__init__(f"{uri} can't be read: {reason}. It is left as it is; restore or remove it.")
        self.uri = uri
        self.reason = reason


UnreadableObject = UnreadableObjectError


@dataclass(frozen=True)
class S3Uri:
    """An address, ``s3://bucket/key``; a key that ends in ``/`` or is empty is a prefix."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> S3Uri:
        """Take ``text`` apart.

        Raises:
            InvalidUriError: it has another scheme, no valid bucket, control characters or ``..`` in its key.
        """
        match = _URI.fullmatch(text)
        if not match:
            msg = (
                f"{text!r} is no S3 address: write s3://BUCKET/KEY with a bucket of 3 to 63 characters a-z, 0-9, - or ."
            )
            raise InvalidUriError(msg)
        key = match["key"] or ""
        if ".." in key.split("/"):
            msg = f"{text!r} is refused: '..' must not be a part of the key"
            raise InvalidUriError(msg)
        return cls(match["bucket"], key)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


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

    # --- Reading --------------------------------------------------------------------------------------------

    def get(self, uri: str) -> Object | None:
        """The object, or ``None`` where there is none."""
        return self._get(uri, {})

    def get_range(self, uri: str, start: int, length: int) -> Object | None:
        """``length`` bytes from ``start`` on (fewer at the end of the object), or ``None`` without an object."""
        return self._get(uri, {"Range": f"bytes={start}-{start + length - 1}"})

    def _get(self, uri: str, arguments: dict[str, Any]) -> Object | None:
        at = S3Uri.parse(uri)
        with _translated(at):
            try:
                answer = self._client.get_object(Bucket=at.bucket, Key=at.key, **arguments)
                return Object(answer["Body"].read(), answer["ETag"])
            except botocore.exceptions.ClientError as error:
                if _code(error) in _MISSING:
                    return None
                raise

    def head(self, uri: str) -> Head | None:
        """Size and ETag, or ``None`` where there is no object (or no bucket: S3 does not say which)."""
        at = S3Uri.parse(uri)
        with _translated(at):
            try:
                answer = self._client.head_object(Bucket=at.bucket, Key=at.key)
                return Head(answer["ContentLength"], answer["ETag"])
            except botocore.exceptions.ClientError as error:
                if _code(error) in _MISSING:
                    return None
                raise

    def list(self, uri: str) -> Iterator[Listed]:
        """All objects whose key starts with the address's key, in order of their keys."""
        at = S3Uri.parse(uri)
        with _translated(at):
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
            with _translated(at):
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
        with _translated(at):
            self._client.put_object(Bucket=at.bucket, Key=at.key, Body=body)

    def put_file(self, uri: str, path: Path) -> None:
        """Write the file's content, in parts where it is large, whatever was there."""
        at = S3Uri.parse(uri)
        with _translated(at):
            self._client.upload_file(str(path), at.bucket, at.key)

    def create(self, uri: str, body: bytes) -> bool:
        """Write the object if there is none; ``False`` where there is one, which then stays as it is.

        A retry after a lost answer finds the object of the first try and gives ``False`` too: what counts is what
        :meth:`create_or_read` reads back.
        """
        at = S3Uri.parse(uri)
        for attempt in range(CONFLICT_ATTEMPTS):
            with _translated(at):
                try:
                    self._client.put_object(Bucket=at.bucket, Key=at.key, Body=body, IfNoneMatch="*")
                except botocore.exceptions.ClientError as error:
                    if _code(error) not in _CONFLICTS:
                        raise
                    if _status(error) == 412:
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
        with _translated(at):
            try:
                self._client.put_object(Bucket=at.bucket, Key=at.key, Body=body, IfMatch=etag)
            except botocore.exceptions.ClientError as error:
                if _code(error) in _CONFLICTS | _MISSING:
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
        with _translated(start):
            self._client.copy({"Bucket": start.bucket, "Key": start.key}, end.bucket, end.key)

    def delete(self, uri: str) -> None:
        """Remove the object; without one nothing happens."""
        at = S3Uri.parse(uri)
        with _translated(at):
            self._client.delete_object(Bucket=at.bucket, Key=at.key)

    def create_bucket(self, bucket: str) -> None:
        """Create the bucket; one that is there already is left alone."""
        at = S3Uri.parse(f"s3://{bucket}/")
        with _translated(at):
            try:
                self._client.create_bucket(Bucket=bucket)
            except botocore.exceptions.ClientError as error:
                if _code(error) not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                    raise


def _pause(attempt: int) -> None:
    """Wait a random time that doubles with each attempt, so that writers fall out of step."""
    longest = min(LONGEST_PAUSE_SECONDS, 0.01 * 2**attempt)
    time.sleep(longest * secrets.randbelow(1000) / 1000)


def _code(error: botocore.exceptions.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: botocore.exceptions.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextlib.contextmanager
def _translated(at: S3Uri) -> Iterator[None]:
    """Turn the client's errors into this module's."""
    try:
        yield
    except botocore.exceptions.ClientError as error:
        raise _from_answer(error, at) from error
    except (botocore.exceptions.NoCredentialsError, botocore.exceptions.PartialCredentialsError) as error:
        msg = f"{at}: no S3 credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or a workload identity)"
        raise StoreDenied(msg) from error
    except S3UploadFailedError as error:
        cause = error.__context__
        if isinstance(cause, botocore.exceptions.ClientError):
            raise _from_answer(cause, at) from error
        msg = f"{at}: the upload failed: {error}"
        raise StoreUnavailable(msg) from error
    except _NO_ANSWER as error:
        msg = f"{at}: S3 does not answer: {error}. Check the endpoint, and that the service is up"
        raise StoreUnavailable(msg) from error
    except botocore.exceptions.BotoCoreError as error:
        msg = f"{at}: {error}"
        raise StoreError(msg) from error


def _from_answer(error: botocore.exceptions.ClientError, at: S3Uri) -> StoreError:
    code, status = _code(error), _status(error)
    if code == "NoSuchBucket":
        return NoSuchBucket(f"{at}: there is no bucket {at.bucket!r}: create it, or correct the address")
    if code in _MISSING:
        return MissingObject(f"{at}: there is no such object")
    if code in _DENIED or status in {401, 403}:
        return StoreDenied(
            f"{at}: access was denied ({code}): check the credentials, and what they may do in bucket {at.bucket!r}"
        )
    if code in _TEMPORARY or status >= 500 or status == 429:
        return StoreUnavailable(f"{at}: S3 asks to come back later ({code or status})")
    return StoreError(f"{at}: {error}")
