"""S3 in a dictionary: the simple operations alone, as all that is composed of them is the real store's."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from nasoa_runtime.storage.errors import MissingObject, NoSuchBucket, S3Uri, StoreError
from nasoa_runtime.storage.objects import Head, Listed, Object, ObjectStore


class MemoryStore(ObjectStore):
    """Objects by bucket and key. An ETag is never given twice, not even to the same content."""

    def __init__(self, *buckets: str) -> None:
        self._buckets: dict[str, dict[str, Object]] = {bucket: {} for bucket in buckets}
        self._etags = itertools.count(1)
        self.replacing: Callable[[str], None] = lambda uri: None
        """Hears of each object whose content is about to become another one, or to go."""

    def get(self, uri: str) -> Object | None:
        at = S3Uri.parse(uri)
        return self._bucket(at).get(at.key)

    def get_range(self, uri: str, start: int, length: int) -> Object | None:
        found = self.get(uri)
        if found is None:
            return None
        if start >= len(found.body):
            msg = f"{uri}: the object ends before byte {start}"
            raise StoreError(msg)
        return Object(found.body[start : start + length], found.etag)

    def head(self, uri: str) -> Head | None:
        at = S3Uri.parse(uri)
        found = self._buckets.get(at.bucket, {}).get(at.key)
        return None if found is None else Head(len(found.body), found.etag)

    def list(self, uri: str) -> Iterator[Listed]:
        at = S3Uri.parse(uri)
        found = self._bucket(at)
        for key in sorted(key for key in found if key.startswith(at.key)):
            yield Listed(key, len(found[key].body), found[key].etag)

    def put(self, uri: str, body: bytes) -> None:
        at = S3Uri.parse(uri)
        there = self._bucket(at).get(at.key)
        if there is not None and there.body != body:
            self.replacing(uri)
        self._bucket(at)[at.key] = Object(body, f'"{next(self._etags)}"')

    def put_file(self, uri: str, path: Path) -> None:
        self.put(uri, path.read_bytes())

    def create(self, uri: str, body: bytes) -> bool:
        if self.get(uri) is not None:
            return False
        self.put(uri, body)
        return True

    def replace(self, uri: str, body: bytes, etag: str) -> bool:
        found = self.get(uri)
        if found is None or found.etag != etag:
            return False
        self.put(uri, body)
        return True

    def copy(self, source: str, target: str) -> None:
        found = self.get(source)
        if found is None:
            msg = f"{source}: there is no such object"
            raise MissingObject(msg)
        self.put(target, found.body)

    def delete(self, uri: str) -> None:
        if self.get(uri) is not None:
            self.replacing(uri)
            at = S3Uri.parse(uri)
            del self._bucket(at)[at.key]

    def contents(self, uri: str) -> Mapping[str, bytes]:
        """All that is below an address, by the part of the key behind the address's."""
        at = S3Uri.parse(uri)
        found = self._bucket(at)
        return {key.removeprefix(at.key): found[key].body for key in sorted(found) if key.startswith(at.key)}

    def _bucket(self, at: S3Uri) -> dict[str, Object]:
        try:
            return self._buckets[at.bucket]
        except KeyError:
            msg = f"{at}: there is no bucket {at.bucket!r}: create it, or correct the address"
            raise NoSuchBucket(msg) from None
