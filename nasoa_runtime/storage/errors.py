"""What goes wrong with S3, in two kinds that decide about trying again, and the addresses that messages name.

:class:`StoreUnavailable` means that the same call may succeed later; everything else under :class:`StoreError` will
not, before somebody changes something.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

import botocore.exceptions
from boto3.exceptions import S3UploadFailedError

_URI = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<key>[^\x00-\x1f\x7f]{0,1024}))?")
MISSING = {"NoSuchKey", "404", "NotFound"}
CONFLICTS = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}
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


def error_code(error: botocore.exceptions.ClientError) -> str:
    """S3's name for what is wrong; the HTTP status as text where the answer has no body."""
    return str(error.response.get("Error", {}).get("Code", ""))


def error_status(error: botocore.exceptions.ClientError) -> int:
    """HTTP status of the answer; 0 without one."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextlib.contextmanager
def translated(at: S3Uri) -> Iterator[None]:
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
    code, status = error_code(error), error_status(error)
    if code == "NoSuchBucket":
        return NoSuchBucket(f"{at}: there is no bucket {at.bucket!r}: create it, or correct the address")
    if code in MISSING:
        return MissingObject(f"{at}: there is no such object")
    if code in _DENIED or status in {401, 403}:
        return StoreDenied(
            f"{at}: access was denied ({code}): check the credentials, that there is a bucket {at.bucket!r}, and what "
            "they may do in it"
        )
    if code in _TEMPORARY or status >= 500 or status == 429:
        return StoreUnavailable(f"{at}: S3 asks to come back later ({code or status})")
    return StoreError(f"{at}: {error}")
