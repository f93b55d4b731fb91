"""Objects by their ``s3://bucket/key`` addresses: what a store must be able to do, and what follows from that.

A store does the simple operations. What is composed of several, and must hold however often it is interrupted, is
written here once for all of them.
"""

from __future__ import annotations

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nasoa_runtime.storage.errors import Contended, StoreUnavailable

LONGEST_PAUSE_SECONDS = 0.5


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


class ObjectStore(ABC):
    """A store. All methods may raise the errors of :mod:`nasoa_runtime.storage.errors`; threads may share it."""

    # --- Reading -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def get(self, uri: str) -> Object | None:
        """The object, or ``None`` where there is none."""

    @abstractmethod
    def get_range(self, uri: str, start: int, length: int) -> Object | None:
        """``length`` bytes from ``start`` on (fewer at the end of the object), or ``None`` without an object."""

    @abstractmethod
    def head(self, uri: str) -> Head | None:
        """Size and ETag, or ``None`` where there is no object (or no bucket: S3 does not say which)."""

    @abstractmethod
    def list(self, uri: str) -> Iterator[Listed]:
        """All objects whose key starts with the address's key, in order of their keys."""

    # --- Writing -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def put(self, uri: str, body: bytes) -> None:
        """Write the object, whatever was there. For objects with one writer only."""

    @abstractmethod
    def put_file(self, uri: str, path: Path) -> None:
        """Write the file's content, in parts where it is large, whatever was there."""

    @abstractmethod
    def create(self, uri: str, body: bytes) -> bool:
        """Write the object if there is none; ``False`` where there is one, which then stays as it is.

        A retry after a lost answer finds the object of the first try and gives ``False`` too: what counts is what
        :meth:`create_or_read` reads back.
        """

    @abstractmethod
    def replace(self, uri: str, body: bytes, etag: str) -> bool:
        """Write the object if its ETag still is ``etag``; ``False`` where it is another, or the object is gone."""

    @abstractmethod
    def copy(self, source: str, target: str) -> None:
        """Copy within the store, without the content passing through here.

        Raises:
            MissingObject: there is no ``source``.
        """

    @abstractmethod
    def delete(self, uri: str) -> None:
        """Remove the object; without one nothing happens."""

    # --- Composed ----------------------------------------------------------------------------------------------------

    def create_or_read(self, uri: str, body: bytes) -> bytes:
        """Write the object if there is none, and return the content that counts: ours, or what was there."""
        if self.create(uri, body):
            return body
        found = self.get(uri)
        if found is None:
            msg = f"{uri} existed and was removed meanwhile; nothing may remove it"
            raise StoreUnavailable(msg)
        return found.body

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
            pause(attempt)
        msg = f"{uri}: other writers were faster {attempts} times"
        raise Contended(msg)


def pause(attempt: int) -> None:
    """Wait a random time that doubles with each attempt, so that writers fall out of step."""
    longest = min(LONGEST_PAUSE_SECONDS, 0.01 * 2**attempt)
    time.sleep(longest * secrets.randbelow(1000) / 1000)
