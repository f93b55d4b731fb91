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

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from nasoa_runtime.boundary import digest
from nasoa_runtime.documents.base import UnreadableDocumentError
from nasoa_runtime.documents.keys import PredictorKeys
from nasoa_runtime.documents.outcomes import OutcomeRecord
from nasoa_runtime.documents.predictor import Adoption
from nasoa_runtime.online import state_bytes
from nasoa_runtime.online.hedged import ALGORITHM
from nasoa_runtime.online.state import APPLIED_WINDOW, PredictorState
from nasoa_runtime.online.warm_start import warm_started
from nasoa_runtime.storage.outcomes import PredictorObjects
from nasoa_runtime.storage.s3 import Contended, ObjectStore

ATTEMPTS = 50
"""How often the state is swapped at most: so many other requests may be learned meanwhile."""


@dataclass(frozen=True)
class LearnReceipt:
    """What learning came to."""

    version: int
    """The predictor's version after this request was applied, whenever that was."""
    already: bool
    """Whether it had been applied before."""
    refit_through: int | None = None
    """The version up to which trees are due to be fitted anew, if they are (:mod:`nasoa_runtime.storage.refits`)."""


def read_state(store: ObjectStore, bucket: str, zoo: str, models: Sequence[str] = ()) -> PredictorState:
    """The zoo's predictor with a column for each of ``models``; a warm-started one where no request was learned yet.

    Raises:
        UnreadableDocumentError: there is a state that this version can't read. It is left as it is.
    """
    objects = _objects(store, bucket, zoo)
    found = objects.state()
    return warm_started(models=models) if found is None else objects.parsed(found).with_models(models)


def learn_once(
    store: ObjectStore, bucket: str, zoo: str, record: OutcomeRecord, models: Sequence[str] = ()
) -> LearnReceipt:
    """Teach the zoo's predictor what a request showed, unless it was taught before.

    Args:
        store: S3 with the operator's identity.
        bucket: the system bucket.
        zoo: name of the zoo.
        record: what the request's runs showed. Without any, the request counts as applied and the version stays.
        models: names of the zoo's models; new ones get a column.

    Raises:
        UnreadableDocumentError: the state, or what is recorded of this request, can't be read; both are left as they
            are.
    """
    objects, uid = _objects(store, bucket, zoo), record.uid
    recorded = objects.record(record)
    for _ in range(ATTEMPTS):
        found = objects.state()
        state = warm_started(models=models) if found is None else objects.parsed(found)
        applied = _applied_version(objects, state, uid)
        if applied is not None:
            objects.mark(uid, applied)
            return LearnReceipt(applied, already=True, refit_through=state.refit_due)
        if not recorded.runs:
            objects.mark(uid, state.version)
            return LearnReceipt(state.version, already=False, refit_through=state.refit_due)
        learned = state.with_models(models).update(recorded)
        _mark_leaving(objects, state, learned)
        if found is None:
            objects.keep_trees_of(state)
        if objects.swap(found, state_bytes.dump(learned)):
            objects.mark(uid, learned.version)
            return LearnReceipt(learned.version, already=False, refit_through=learned.refit_due)
    msg = f"{objects.state_uri}: other requests were learned first {ATTEMPTS} times"
    raise Contended(msg)


def count_outcomes(store: ObjectStore, bucket: str, zoo: str) -> int:
    """How many requests' outcomes are recorded."""
    return sum(1 for _ in _objects(store, bucket, zoo).recorded_uids())


def read_outcomes(store: ObjectStore, bucket: str, zoo: str) -> tuple[OutcomeRecord, ...]:
    """What every request showed, in the order in which they were applied.

    Those recorded but not applied yet come last, in the order in which they were recorded.

    Raises:
        UnreadableDocumentError: a record or a marker can't be read.
    """
    return tuple(record for _, record in versions_of_outcomes(_objects(store, bucket, zoo)))


def versions_of_outcomes(objects: PredictorObjects) -> list[tuple[float, OutcomeRecord]]:
    """Every request's record with the version that it produced, in their order; infinity where it was not applied."""
    versions = _remembered_versions(objects)
    found = []
    for uid in objects.recorded_uids():
        record = objects.outcomes(uid)
        version = objects.marked_version(uid)
        version = versions.get(uid) if version is None else version
        found.append((math.inf if version is None else float(version), record))
    return sorted(found, key=lambda entry: (entry[0], entry[1].recorded_at, entry[1].uid))


def rebuild(
    store: ObjectStore,
    bucket: str,
    zoo: str,
    algorithm: str = ALGORITHM,
    seed: int = 0,
    models: Sequence[str] = (),
) -> PredictorState:
    """Learn everything anew, warm start and recorded outcomes, and make that the zoo's predictor.

    Trees that were adopted are adopted again at the same versions.

    What was there, readable or not, is kept under ``predictors/<zoo>/replaced/``. Requests that are learned meanwhile
    are not lost: the swap fails, and the records are read again.

    Raises:
        UnreadableDocumentError: a record or a marker can't be read.
    """
    objects = _objects(store, bucket, zoo)
    for _ in range(ATTEMPTS):
        found = objects.state()
        state = warm_started(algorithm, seed, models)
        adoptions = deque(_adoptions(objects) if algorithm == ALGORITHM else ())
        for record in read_outcomes(store, bucket, zoo):
            before = state
            state = before.update(record) if record.runs else before
            _mark_leaving(objects, before, state)
            while adoptions and adoptions[0].version == state.version:
                adopted = adoptions.popleft()
                state = state.adopting(objects.forest(adopted.digest), adopted.digest, adopted.through)
        objects.keep_trees_of(state)
        if found is not None:
            objects.keep_replaced(found, digest(found.body))
        if objects.swap(found, state_bytes.dump(state)):
            return state
    msg = f"{objects.state_uri}: other requests were learned first {ATTEMPTS} times"
    raise Contended(msg)


def _objects(store: ObjectStore, bucket: str, zoo: str) -> PredictorObjects:
    return PredictorObjects(store, bucket, PredictorKeys(zoo))


def _adoptions(objects: PredictorObjects) -> tuple[Adoption, ...]:
    """Those that the state remembers, if it can be read, and those that are recorded beside it; oldest first."""
    found = {adoption.through: adoption for adoption in objects.adoptions()}
    stored = objects.state()
    try:
        remembered = () if stored is None else objects.parsed(stored).adoptions
    except UnreadableDocumentError:
        remembered = ()
    all_of_them = found | {adoption.through: adoption for adoption in remembered}
    return tuple(adoption for _, adoption in sorted(all_of_them.items()))


def _versions(state: PredictorState) -> dict[str, int]:
    """The version that each remembered request produced: each counted up by one."""
    first = state.version - len(state.applied_uids) + 1
    return {uid: first + position for position, uid in enumerate(state.applied_uids)}


def _remembered_versions(objects: PredictorObjects) -> dict[str, int]:
    """What the state remembers; nothing where it can't be read: all that is asked for is an order, and markers give it
    too."""
    found = objects.state()
    try:
        return {} if found is None else _versions(objects.parsed(found))
    except UnreadableDocumentError:
        return {}


def _applied_version(objects: PredictorObjects, state: PredictorState, uid: str) -> int | None:
    """The version that ``uid`` produced, or ``None`` if it was not applied by the time ``state`` was read."""
    remembered = _versions(state).get(uid)
    return objects.marked_version(uid) if remembered is None else remembered


def _mark_leaving(objects: PredictorObjects, before: PredictorState, after: PredictorState) -> None:
    """Make sure of the marker of the UID that ``after`` no longer remembers, if there is one."""
    if len(before.applied_uids) == APPLIED_WINDOW and before.applied_uids[0] != after.applied_uids[0]:
        uid = before.applied_uids[0]
        objects.mark(uid, _versions(before)[uid])
