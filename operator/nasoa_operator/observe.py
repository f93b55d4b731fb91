"""Observing what both kinds have in common: an owner's Jobs, their pods' words and metrics, and its documents in S3."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from nasoa_operator.blockage import blockage_of
from nasoa_operator.outcomes import (
    RESULT_LIMIT_BYTES,
    JobContext,
    ObservedJob,
    PodOutcome,
    PodWord,
    last_words,
    observed_job,
    read_message,
    read_result,
)
from nasoa_operator.plan import Manifest
from nasoa_operator.ports import ClusterPort, StepTimesPort
from nasoa_runtime.storage.s3 import ObjectStore, StoreError, StoreUnavailable, UnreadableObjectError

T = TypeVar("T")
DOCUMENT_CACHE = 20_000


class Documents:
    """Create-only documents of the system bucket. What was read once never changes, so it is kept in memory."""

    def __init__(self, store: ObjectStore, bucket: str) -> None:
        self.store = store
        self.bucket = bucket
        self._cache: dict[str, dict[str, Any]] = {}

    def uri(self, key: str) -> str:
        """The address of ``key``."""
        return f"s3://{self.bucket}/{key}"

    def read_all(self, prefix: str) -> dict[str, dict[str, Any]]:
        """All JSON documents under ``prefix``, by the part of their key behind it."""
        keys = [f.key for f in self.store.list(self.uri(prefix)) if f.key.endswith(".json")]
        return {key.removeprefix(prefix): self.read(key) for key in keys}

    def read(self, key: str) -> dict[str, Any]:
        """One document that exists.

        Raises:
            UnreadableObjectError: if it is not a JSON object.
        """
        if key not in self._cache:
            found = self.store.get(self.uri(key))
            if found is None:
                raise UnreadableObjectError(self.uri(key), "it was listed, but is gone")
            self._remember(key, found.body)
        return self._cache[key]

    def create(self, key: str, body: bytes) -> bool:
        """Create a document; ``False`` if one was there, which then is the one that counts."""
        created = self.store.create(self.uri(key), body)
        if not created:
            self.read(key)
        return created

    def _remember(self, key: str, content: bytes) -> None:
        try:
            document = json.loads(content)
        except ValueError as error:
            raise UnreadableObjectError(self.uri(key), f"not JSON: {error}") from error
        if not isinstance(document, dict):
            raise UnreadableObjectError(self.uri(key), "not a JSON object")
        if len(self._cache) >= DOCUMENT_CACHE:
            self._cache.pop(next(iter(self._cache)))
        self._cache[key] = document


async def in_thread(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Run blocking work (S3, planning) in a thread, so that the event loop never waits for it."""
    return await asyncio.get_running_loop().run_in_executor(None, partial(function, *args, **kwargs))


async def observe_jobs(
    cluster: ClusterPort,
    store: ObjectStore,
    step_times: StepTimesPort,
    namespace: str,
    owner_uid: str,
    context_of: Callable[[str], JobContext | None],
    now: datetime,
) -> dict[str, ObservedJob]:
    """The owner's Jobs by step; finished ones with outcomes, others with metrics and what keeps their pods waiting."""
    jobs: dict[str, ObservedJob] = {}
    for manifest in await cluster.list_jobs(namespace, owner_uid):
        job = observed_job(manifest)
        context = context_of(job.step)
        if context is not None and not job.deleting:
            pods = await cluster.list_pods(namespace, job.name) if job.finished or job.pods else []
            if job.finished:
                outcomes = await in_thread(job_outcomes, store, job, pods, context)
                job = replace(job, outcomes=outcomes, metrics=step_times.of_job(job.uid))
            else:
                metrics = await step_times.observe(job.uid, pods)
                job = replace(job, metrics=metrics, blockage=blockage_of(manifest, pods, now))
        jobs[job.step] = job
    return jobs


def job_outcomes(
    store: ObjectStore, job: ObservedJob, pods: list[Manifest], context: JobContext
) -> tuple[PodOutcome, ...]:
    """What each index of a finished Job came to.

    A result that is whole in S3 counts even when its pod is gone: the pod wrote it before it exited.
    """
    words = last_words(pods)
    return tuple(
        index_outcome(store, words.get(index), index, context, job.failure) for index in range(job.completions)
    )


def index_outcome(
    store: ObjectStore, word: PodWord | None, index: int, context: JobContext, job_failure: str
) -> PodOutcome:
    """One index: its termination message first, then the stored result, then the reason of the failure."""
    expected_digest: str | None = None
    outcome = PodOutcome(index, failure="Disrupted", message=job_failure or "its pod has vanished")
    if word is not None:
        message, outcome = read_message(word, context.program)
        if outcome.result is not None or outcome.failure in {"BadInput", "Diverged", "InvalidResult"}:
            return outcome
        expected_digest = message.result_digest if message is not None else None
    try:
        # A tenant's object may have any size: no more of it is read than tells that it is too large.
        found = store.get_range(f"{context.result_uri}/{index}.json", 0, RESULT_LIMIT_BYTES + 1)
    except StoreUnavailable:
        raise
    except StoreError as error:
        return PodOutcome(index, failure="InvalidResult", message=str(error))
    if found is not None:
        return read_result(index, found.body, context.program, expected_digest)
    if outcome.failure is None:
        return PodOutcome(index, failure="InvalidResult", message="the pod ended well, but its result is not in S3")
    return outcome
