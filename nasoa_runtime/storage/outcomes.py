"""The objects of a zoo's predictor in S3: its state, requests' outcomes, and markers of those that were learned.

Every object is read and written here. What can't be read is named and left as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from nasoa_runtime.documents.base import UnreadableDocumentError, dump, load
from nasoa_runtime.documents.keys import PredictorKeys
from nasoa_runtime.documents.outcomes import AppliedMarker, Outcome, OutcomeRecord
from nasoa_runtime.online import state_bytes
from nasoa_runtime.online.errors import InvalidDescription, UnreadableState
from nasoa_runtime.online.learning import check_outcomes
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.storage.s3 import Object, ObjectStore


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
            return state_bytes.load(state.body)
        except UnreadableState as error:
            raise UnreadableDocumentError(self.state_uri, str(error)) from error

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

    def outcomes(self, uid: str) -> tuple[datetime, tuple[Outcome, ...]]:
        """What request ``uid`` showed, and when that was recorded.

        Raises:
            UnreadableDocumentError: the record has gone, can't be read, or can't be learned.
        """
        uri = self.uri(self.keys.outcome(uid))
        found = self.store.get(uri)
        if found is None:
            raise UnreadableDocumentError(uri, "it was listed, but is gone")
        record = _readable(found.body, uid, uri)
        return record.recorded_at, record.runs

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
    try:
        check_outcomes(record.runs)
    except InvalidDescription as error:
        raise UnreadableDocumentError(uri, str(error)) from error
    return record
