"""What a pod does about an S3 that does not answer, and about one that refuses."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from nasoa_runtime.pods.failures import BadInputError
from nasoa_runtime.storage.s3 import StoreDenied, StoreError, StoreUnavailable

log = logging.getLogger(__name__)
T = TypeVar("T")

PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0)
"""Pauses between attempts on a store that does not answer, beyond the store client's own retries."""


def retrying(action: Callable[[], T], pauses_seconds: tuple[float, ...] = PAUSES_SECONDS) -> T:
    """Do ``action``; while the store is unavailable, again after each pause, then give up with its error."""
    for pause in pauses_seconds:
        try:
            return action()
        except StoreUnavailable as error:
            log.warning("%s; trying again in %.1f s.", error, pause)
            time.sleep(pause)
    return action()


@contextmanager
def blaming(field: str) -> Iterator[None]:
    """Within, what S3 refuses for good is the fault of ``field`` of the spec.

    Raises:
        BadInputError: in place of a :class:`StoreError` that another attempt would meet again.
    """
    try:
        yield
    except StoreUnavailable:
        raise
    except StoreError as error:
        denied = isinstance(error, StoreDenied)
        keys = "; a pod's keys come from the Secret that storage.secretName names" if denied else ""
        msg = f"{error}{keys}."
        raise BadInputError(msg, field) from error
