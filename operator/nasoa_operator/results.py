"""What counts of a finished Job's indices: the termination message, or the result that is in S3."""

from __future__ import annotations

from nasoa_operator.observed_jobs import ObservedJob
from nasoa_operator.plan import Manifest
from nasoa_operator.pod_outcomes import (
    RESULT_LIMIT_BYTES,
    JobContext,
    PodOutcome,
    Termination,
    invalid,
    read_message,
    read_result,
    terminations_of,
)
from nasoa_runtime.documents.keys import result_uri
from nasoa_runtime.storage.s3 import ObjectStore, StoreError, StoreUnavailable


def job_outcomes(
    store: ObjectStore, job: ObservedJob, pods: list[Manifest], context: JobContext
) -> tuple[PodOutcome, ...]:
    """What each index of a finished Job came to.

    A result that is whole in S3 counts even when its pod is gone: the pod wrote it before it exited.
    """
    terminations = terminations_of(pods)
    return tuple(
        index_outcome(store, terminations.get(index), index, context, job.failure) for index in range(job.completions)
    )


def index_outcome(
    store: ObjectStore, termination: Termination | None, index: int, context: JobContext, job_failure: str
) -> PodOutcome:
    """One index: its termination message first, then the stored result, then the reason of the failure."""
    expected_digest: str | None = None
    outcome = PodOutcome(index, failure="Disrupted", message=job_failure or "its pod has vanished")
    if termination is not None:
        message, outcome = read_message(termination, context.program)
        if outcome.result is not None or outcome.failure in {"BadInput", "Diverged", "InvalidResult"}:
            return outcome
        expected_digest = message.result_digest if message is not None else None
    try:
        # A tenant's object may have any size: no more of it is read than tells that it is too large.
        found = store.get_range(result_uri(context.result_uri, index), 0, RESULT_LIMIT_BYTES + 1)
    except StoreUnavailable:
        raise
    except StoreError as error:
        return invalid(index, str(error))
    if found is not None:
        return read_result(index, found.body, context.program, expected_digest)
    if outcome.failure is None:
        return invalid(index, "the pod ended well, but its result is not in S3")
    return outcome
