"""The documents of searches and requests in the system bucket: created once, read as what they are, kept in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from nasoa_runtime.documents import request as requests
from nasoa_runtime.documents.base import Document, UnreadableDocumentError, dump, load
from nasoa_runtime.documents.keys import RequestKeys, SearchKeys, SearchPart
from nasoa_runtime.documents.request import RequestRecords
from nasoa_runtime.documents.search_records import SearchRecords, kind_of
from nasoa_runtime.storage.s3 import Listed, ObjectStore

D = TypeVar("D", bound=Document)
CACHED_AT_MOST = 20_000


class DocumentStore:
    """Create-only documents of one bucket.

    A document that was read is kept in memory for as long as its object has the same ETag, so that a look at a search
    costs one listing, and one that somebody has changed since is noticed at the next look.
    """

    def __init__(self, store: ObjectStore, bucket: str) -> None:
        self.store = store
        self.bucket = bucket
        self._cache: dict[str, tuple[str, Document]] = {}

    def uri(self, key: str) -> str:
        """The address of ``key``."""
        return f"s3://{self.bucket}/{key}"

    def create(self, key: str, document: Document) -> bool:
        """Create a document; ``False`` if one was there, which then is the one that counts."""
        return self.store.create(self.uri(key), dump(document))

    def search_records(self, uid: str) -> SearchRecords:
        """All that is recorded of the search ``uid``.

        Raises:
            UnreadableDocumentError: a document is not what belongs under its key; it is left as it is.
        """
        keys = SearchKeys(uid)
        found: dict[SearchPart, Document] = {}
        for listed in self._listed(keys.prefix):
            part = keys.part_of(listed.key)
            kind = None if part is None else kind_of(part)
            if part is not None and kind is not None:
                found[part] = self.read(kind, listed)
        return SearchRecords(found)

    def request_records(self, uid: str) -> RequestRecords:
        """All that is recorded of the request ``uid``.

        Raises:
            UnreadableDocumentError: a document is not what belongs under its key; it is left as it is.
        """
        keys = RequestKeys(uid)
        names = {keys.name_of(listed.key): listed for listed in self._listed(keys.prefix)}
        found = {name: self.read(kind, names[name]) for name, kind in requests.KINDS.items() if name in names}
        return RequestRecords(**found)  # type: ignore[arg-type]

    def _listed(self, prefix: str) -> Iterator[Listed]:
        return self.store.list(self.uri(prefix))

    def read(self, kind: type[D], listed: Listed) -> D:
        """The document that ``listed`` names.

        Raises:
            UnreadableDocumentError: it is not a ``kind``, or has gone.
        """
        etag, document = self._cache.get(listed.key, ("", None))
        if etag == listed.etag and isinstance(document, kind):
            return document
        uri = self.uri(listed.key)
        found = self.store.get(uri)
        if found is None:
            raise UnreadableDocumentError(uri, "it was listed, but is gone")
        read = load(kind, found.body, uri)
        while len(self._cache) >= CACHED_AT_MOST:
            self._cache.pop(next(iter(self._cache)))
        self._cache[listed.key] = (found.etag, read)
        return read
