"""The objects of a zoo's predictor in S3: its state and trees, requests' outcomes, and markers of what was done.

Every object is read and written here. What can't be read is named and left as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nasoa_runtime.documents.base import UnreadableDocumentError, dump, load
from nasoa_runtime.documents.keys import PredictorKeys
from nasoa_runtime.documents.outcomes import AppliedMarker, OutcomeRecord
from nasoa_runtime.documents.predictor import Adoption, AdoptionMarker
from nasoa_runtime.online import state_bytes
from nasoa_runtime.online.errors import InvalidDescription, UnreadableState
from nasoa_runtime.online.forest import Forest, digest_of
from nasoa_runtime.online.hedged import Hedged
from nasoa_runtime.online.learning import check_outcomes, upgraded
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.online.warm_start import packaged_forest, packaged_trees
from nasoa_runtime.storage.s3 import Object, ObjectStore

_KEPT: dict[str, Forest] = {}
"""Trees that were read last, by their digest, under which they never change."""
MOST_KEPT = 8
"""Of these: each refit of each zoo is another, and they are megabytes."""


@dataclass(frozen=True)
class PredictorObjects:
    """The objects of one zoo's predictor."""

    store: ObjectStore
    bucket: str
    keys: PredictorKeys

    def uri(self, key: str) -> str:
        """The address of a key."""
        return f"s3://{self.bucket}/{key}"

    @property
    def state_uri(self) -> str:
        """Where the state is."""
        return self.uri(self.keys.state)

    def state(self) -> Object | None:
        """The state as it is stored; ``None`` before anything was learned."""
        return self.store.get(self.state_uri)

    def parsed(self, state: Object) -> PredictorState:
        """The state that is stored.

        Raises:
            UnreadableDocumentError: this version can't read it.
        """
        try:
            return state_bytes.load(state.body, self.forest)
        except UnreadableState as error:
            raise UnreadableDocumentError(self.state_uri, str(error)) from error

    def forest(self, digest: str) -> Forest:
        """The trees with this digest: the packaged ones, or those that are stored.

        Raises:
            UnreadableDocumentError: they are gone, were changed, or can't be read.
        """
        packaged = packaged_forest(digest)
        if packaged is not None:
            return packaged
        found = _KEPT.pop(digest, None) or self._read_forest(self.uri(self.keys.trees(digest)), digest)
        _KEPT[digest] = found
        for oldest in list(_KEPT)[:-MOST_KEPT]:
            _KEPT.pop(oldest, None)
        return found

    def _read_forest(self, uri: str, digest: str) -> Forest:
        found = self.store.get(uri)
        if found is None:
            raise UnreadableDocumentError(uri, "the state names these trees, but they are gone")
        if digest_of(found.body) != digest:
            raise UnreadableDocumentError(uri, "its content does not match its name: it was changed or cut off")
        try:
            return Forest.load(found.body)
        except UnreadableState as error:
            raise UnreadableDocumentError(uri, str(error)) from error

    def keep_trees(self, stored: bytes) -> str:
        """Make sure that trees are stored; their digest."""
        digest = digest_of(stored)
        self.store.create(self.uri(self.keys.trees(digest)), stored)
        return digest

    def keep_trees_of(self, state: PredictorState) -> None:
        """Make sure that the trees of a new state are stored, so that another release can read it.

        A state that names trees is never without them: they are there before it is.
        """
        named = state.predictor.forest_digest if isinstance(state.predictor, Hedged) else None
        if named is not None and packaged_forest(named) is not None:
            self.keep_trees(packaged_trees())

    def adoptions(self) -> tuple[Adoption, ...]:
        """Of which it is recorded that they happened, oldest first.

        Raises:
            UnreadableDocumentError: a record can't be read.
        """
        found = []
        for listed in self.store.list(self.uri(self.keys.adoptions)):
            uri = self.uri(listed.key)
            stored = self.store.get(uri)
            if stored is not None:
                found.append(load(AdoptionMarker, stored.body, uri).adoption)
        return tuple(sorted(found, key=lambda adoption: adoption.through))

    def mark_adoption(self, adoption: Adoption) -> None:
        """Make sure of the record that trees were adopted."""
        self.store.create(self.uri(self.keys.adoption(adoption.through)), dump(AdoptionMarker(adoption=adoption)))

    def swap(self, before: Object | None, after: bytes) -> bool:
        """Replace the state, unless another has been written since ``before`` was read."""
        if before is None:
            return self.store.create(self.state_uri, after)
        return self.store.replace(self.state_uri, after, before.etag)

    def record(self, record: OutcomeRecord) -> OutcomeRecord:
        """Record a request's outcomes, or read what was recorded before: that counts.

        Raises:
            UnreadableDocumentError: what is there can't be read, or can't be learned.
        """
        uri = self.uri(self.keys.outcome(record.uid))
        return _readable(self.store.create_or_read(uri, dump(record)), record.uid, uri)

    def recorded_uids(self) -> Iterator[str]:
        """The UIDs of the requests whose outcomes are recorded."""
        return (self.keys.uid_of(listed.key) for listed in self.store.list(self.uri(self.keys.outcomes)))

    def outcomes(self, uid: str) -> OutcomeRecord:
        """What request ``uid`` showed.

        Raises:
            UnreadableDocumentError: the record has gone, can't be read, or can't be learned.
        """
        uri = self.uri(self.keys.outcome(uid))
        found = self.store.get(uri)
        if found is None:
            raise UnreadableDocumentError(uri, "it was listed, but is gone")
        return _readable(found.body, uid, uri)

    def marked_version(self, uid: str) -> int | None:
        """The version that the marker of ``uid`` says it produced; ``None`` without one.

        Raises:
            UnreadableDocumentError: there is a marker that can't be read.
        """
        uri = self.uri(self.keys.applied(uid))
        found = self.store.get(uri)
        return None if found is None else load(AppliedMarker, found.body, uri).version

    def mark(self, uid: str, version: int) -> None:
        """Make sure of the marker that ``uid`` was learned and produced ``version``."""
        self.store.create(self.uri(self.keys.applied(uid)), dump(AppliedMarker(uid=uid, version=version)))

    def keep_replaced(self, state: Object, digest: str) -> None:
        """Keep a state that is about to be replaced for good."""
        self.store.create(self.uri(self.keys.replaced(digest)), state.body)


def _readable(body: bytes, uid: str, uri: str) -> OutcomeRecord:
    record = load(OutcomeRecord, body, uri)
    if record.uid != uid:
        raise UnreadableDocumentError(uri, f"it is the record of request {record.uid}")
    record = record.model_copy(update={"runs": tuple(upgraded(outcome) for outcome in record.runs)})
    try:
        check_outcomes(record.runs)
    except InvalidDescription as error:
        raise UnreadableDocumentError(uri, str(error)) from error
    return record
