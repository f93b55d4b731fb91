"""The predictor that all requests to a zoo share, in S3: each request teaches it exactly once.

Learning from a request takes three steps, any of which may be the last before a crash, and which any number of
operators may do at once:

1. ``predictors/<zoo>/outcomes/<uid>.json`` is created; what is there counts from now on.
2. ``predictors/<zoo>/state.npz`` is replaced by compare-and-swap. It remembers the UIDs it has applied last.
3. ``predictors/<zoo>/applied/<uid>.json`` is created, with the version that the request produced.

A UID that is in the state or has a marker is skipped. Before the state forgets a UID its marker exists. The marker is
looked for *after* the state was read: if the UID had been applied and forgotten before, the marker is there; if it is
applied after, the swap fails.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from nasoa_runtime.boundary import canonical_json, digest
from nasoa_runtime.documents.base import UnreadableDocumentError
from nasoa_runtime.online.errors import UnreadableState
from nasoa_runtime.online.features import RunDescription
from nasoa_runtime.online.state import APPLIED_WINDOW, Outcome, PredictorState
from nasoa_runtime.online.warm_start import warm_started
from nasoa_runtime.storage.s3 import Contended, ObjectStore

FORMAT_VERSION = 1
ATTEMPTS = 50
"""Of the compare-and-swap: so many other requests may be learned meanwhile."""


@dataclass(frozen=True)
class LearnReceipt:
    """What learning came to."""

    version: int
    """Of the predictor after this request was applied, whenever that was."""
    already: bool
    """Whether it had been applied before."""


@dataclass(frozen=True)
class _Keys:
    """Addresses of one zoo's predictor."""

    bucket: str
    zoo: str

    @property
    def base(self) -> str:
        return f"s3://{self.bucket}/predictors/{self.zoo}"

    @property
    def state(self) -> str:
        return f"{self.base}/state.npz"

    def outcome(self, uid: str) -> str:
        return f"{self.base}/outcomes/{uid}.json"

    def marker(self, uid: str) -> str:
        return f"{self.base}/applied/{uid}.json"


def read_state(store: ObjectStore, bucket: str, zoo: str, models: Sequence[str] = ()) -> PredictorState:
    """The zoo's predictor with a column for each of ``models``; a warm-started one where no request was learned yet.

    Raises:
        UnreadableDocumentError: there is a state that this version can't read. It is left as it is.
    """
    keys = _Keys(bucket, zoo)
    found = store.get(keys.state)
    return warm_started(models=models) if found is None else _parse(found.body, keys).with_models(models)


def learn_once(
    store: ObjectStore, bucket: str, zoo: str, uid: str, record: Mapping[str, Any], models: Sequence[str] = ()
) -> LearnReceipt:
    """Teach the zoo's predictor what request ``uid`` showed, unless it was taught before.

    Args:
        store: S3 with the operator's identity.
        bucket: the system bucket.
        zoo: name of the zoo.
        uid: the request's UID.
        record: a JSON document with ``outcomes``, a list of a run's description and ``accuracy`` each, in the order
            of the runs. Without any, the request counts as applied and the version stays.
        models: names of the zoo's models; new ones get a column.

    Raises:
        UnreadableDocumentError: the state or the record in S3 can't be read; both are left as they are.
    """
    keys = _Keys(bucket, zoo)
    uri = keys.outcome(uid)
    stored = _document(store.create_or_read(uri, canonical_json(dict(record))), uri)
    outcomes = outcomes_of(stored, uri)
    for _ in range(ATTEMPTS):
        found = store.get(keys.state)
        state = warm_started(models=models) if found is None else _parse(found.body, keys)
        applied = _applied_version(store, keys, state, uid)
        if applied is not None:
            _mark(store, keys, uid, applied)
            return LearnReceipt(applied, already=True)
        if not outcomes:
            _mark(store, keys, uid, state.version)
            return LearnReceipt(state.version, already=False)
        learned = state.with_models(models).update(outcomes, uid)
        _mark_leaving(store, keys, state, learned)
        body = learned.to_bytes()
        if store.create(keys.state, body) if found is None else store.replace(keys.state, body, found.etag):
            _mark(store, keys, uid, learned.version)
            return LearnReceipt(learned.version, already=False)
    msg = f"{keys.state}: other requests were learned first {ATTEMPTS} times"
    raise Contended(msg)


def read_outcomes(store: ObjectStore, bucket: str, zoo: str) -> tuple[tuple[str, tuple[Outcome, ...]], ...]:
    """Every request's UID and outcomes, in the order in which they were applied.

    Those recorded but not applied yet come last, in the order in which they were recorded.

    Raises:
        UnreadableDocumentError: a record or a marker can't be read.
    """
    keys = _Keys(bucket, zoo)
    found = store.get(keys.state)
    versions = {} if found is None else _versions(_parse_or_fresh(found.body))
    order: list[tuple[float, str, str, tuple[Outcome, ...]]] = []
    for listed in store.list(f"{keys.base}/outcomes/"):
        uid = listed.key.rpartition("/")[2].removesuffix(".json")
        document = _read(store, keys.outcome(uid))
        version = _marked_version(store, keys, uid)
        version = versions.get(uid) if version is None else version
        outcomes = outcomes_of(document, keys.outcome(uid))
        order.append((float("inf") if version is None else version, str(document.get("recordedAt", "")), uid, outcomes))
    return tuple((uid, outcomes) for _, _, uid, outcomes in sorted(order, key=lambda entry: entry[:3]))


def rebuild(
    store: ObjectStore,
    bucket: str,
    zoo: str,
    algorithm: str = "adaptive-mlp",
    seed: int = 0,
    models: Sequence[str] = (),
) -> PredictorState:
    """Learn everything anew, warm start and recorded outcomes, and make that the zoo's predictor.

    What was there, readable or not, is kept under ``predictors/<zoo>/replaced/``. Requests that are learned meanwhile
    are not lost: the swap fails, and the records are read again.

    Raises:
        UnreadableDocumentError: a record can't be read.
    """
    keys = _Keys(bucket, zoo)
    for _ in range(ATTEMPTS):
        found = store.get(keys.state)
        state = warm_started(algorithm, seed, models)
        for uid, outcomes in read_outcomes(store, bucket, zoo):
            before = state
            state = before.update(outcomes, uid) if outcomes else before
            _mark_leaving(store, keys, before, state)
        body = state.to_bytes()
        if found is not None:
            store.create(f"{keys.base}/replaced/{digest(found.body)[:12]}.npz", found.body)
        if store.create(keys.state, body) if found is None else store.replace(keys.state, body, found.etag):
            return state
    msg = f"{keys.state}: other requests were learned first {ATTEMPTS} times"
    raise Contended(msg)


def outcomes_of(document: Mapping[str, Any], uri: str) -> tuple[Outcome, ...]:
    """The outcomes of a request's record.

    Raises:
        UnreadableDocumentError: they are none, or an accuracy is outside [0, 1].
    """
    names = [item.name for item in fields(RunDescription)]
    try:
        outcomes = tuple(
            Outcome(RunDescription(**{name: entry[name] for name in names if name in entry}), float(entry["accuracy"]))
            for entry in document["outcomes"]
        )
    except (TypeError, KeyError, ValueError) as error:
        raise UnreadableDocumentError(uri, f"it is no record of outcomes: {error!r}") from error
    for outcome in outcomes:
        if not 0.0 <= outcome.accuracy <= 1.0:
            raise UnreadableDocumentError(uri, f"an outcome has accuracy {outcome.accuracy}, outside [0, 1]")
    return outcomes


def _parse(body: bytes, keys: _Keys) -> PredictorState:
    try:
        return PredictorState.from_bytes(body)
    except UnreadableState as error:
        raise UnreadableDocumentError(keys.state, str(error)) from error


def _parse_or_fresh(body: bytes) -> PredictorState:
    """The state, or one that knows nothing: what is asked of it is only an order, which markers give too."""
    try:
        return PredictorState.from_bytes(body)
    except UnreadableState:
        return PredictorState.new()


def _versions(state: PredictorState) -> dict[str, int]:
    """The version that each remembered request produced: each counted up by one."""
    first = state.version - len(state.applied_uids) + 1
    return {uid: first + position for position, uid in enumerate(state.applied_uids)}


def _applied_version(store: ObjectStore, keys: _Keys, state: PredictorState, uid: str) -> int | None:
    """The version that ``uid`` produced, or ``None`` if it was not applied by the time ``state`` was read."""
    remembered = _versions(state).get(uid)
    return _marked_version(store, keys, uid) if remembered is None else remembered


def _marked_version(store: ObjectStore, keys: _Keys, uid: str) -> int | None:
    uri = keys.marker(uid)
    found = store.get(uri)
    if found is None:
        return None
    version = _document(found.body, uri).get("version")
    if not isinstance(version, int):
        raise UnreadableDocumentError(uri, "it is no marker of an applied request: it lacks a version")
    return version


def _mark(store: ObjectStore, keys: _Keys, uid: str, version: int) -> None:
    store.create(keys.marker(uid), canonical_json({"formatVersion": FORMAT_VERSION, "uid": uid, "version": version}))


def _mark_leaving(store: ObjectStore, keys: _Keys, before: PredictorState, after: PredictorState) -> None:
    """Make sure of the marker of the UID that ``after`` no longer remembers, if there is one."""
    if len(before.applied_uids) == APPLIED_WINDOW and before.applied_uids[0] != after.applied_uids[0]:
        uid = before.applied_uids[0]
        _mark(store, keys, uid, _versions(before)[uid])


def _read(store: ObjectStore, uri: str) -> dict[str, Any]:
    found = store.get(uri)
    if found is None:
        raise UnreadableDocumentError(uri, "it was listed, but is gone")
    return _document(found.body, uri)


def _document(body: bytes, uri: str) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError as error:
        raise UnreadableDocumentError(uri, f"it is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise UnreadableDocumentError(uri, "it is not a JSON object")
    return document
