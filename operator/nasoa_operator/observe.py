"""Observing an owner's Jobs: how far they are, what their pods said, and what keeps those from running."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from nasoa_operator.blockage import blockage_of
from nasoa_operator.observed_jobs import ObservedJob, observed_job
from nasoa_operator.pod_outcomes import JobContext
from nasoa_operator.ports import ClusterPort, StepTimesPort
from nasoa_operator.results import job_outcomes
from nasoa_runtime.storage.s3 import ObjectStore

T = TypeVar("T")


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
