"""A cluster, an S3 and a clock, and operators that look at them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

from memory.cluster import MemoryCluster
from memory.lines import Line, LinedCluster, LinedStore
from memory.pods import Program, run_pods
from memory.store import MemoryStore
from nasoa_operator.operator import reconciler_over
from nasoa_operator.plan import Manifest
from nasoa_operator.ports import ClusterPort
from nasoa_operator.reconcile import Reconciler
from nasoa_operator.settings import Settings
from nasoa_runtime.storage.documents import DocumentStore

T = TypeVar("T")
START = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = Settings()
TENANT_BUCKET = "tenant"


class AtOnce(ThreadPoolExecutor):
    """Does what is left to a thread at once, so that a test has one thread, and the same order each time."""

    def submit(self, function: Callable[..., T], /, *arguments: Any, **named: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(function(*arguments, **named))
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            future.set_exception(error)
        return future


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end."""
    loop = asyncio.new_event_loop()
    loop.set_default_executor(AtOnce())
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


class Metrics:
    """What running pods say of themselves: what a test has them say, by the UID of their Job."""

    def __init__(self) -> None:
        self.said: dict[str, Mapping[str, float]] = {}

    def of_job(self, job_uid: str) -> Mapping[str, float]:
        return self.said.get(job_uid, {})

    async def observe(self, job_uid: str, pods: Sequence[Manifest]) -> Mapping[str, float]:
        return self.of_job(job_uid) if pods else {}


class World:
    """Everything that an operator meets, and everything that outlives it."""

    def __init__(self, program: Program, settings: Settings = SETTINGS) -> None:
        self.program = program
        self.settings = settings
        self.now = START
        self.store = MemoryStore(settings.system_bucket, TENANT_BUCKET)
        self.cluster = MemoryCluster(lambda: self.now)
        self.metrics = Metrics()
        self.runs: list[tuple[str, int]] = []
        """Address of the results and index of every pod that did its work, in order."""

    @property
    def bucket(self) -> str:
        """The system bucket."""
        return self.settings.system_bucket

    @property
    def documents(self) -> DocumentStore:
        """The documents of all objects, as somebody reads them who has read none yet."""
        return DocumentStore(self.store, self.bucket)

    def clock(self) -> datetime:
        """The time; it takes a second to look at it."""
        self.now += timedelta(seconds=1)
        return self.now

    def operator(self, line: Line | None = None) -> Reconciler:
        """An operator that has seen nothing yet."""
        line = line or Line()
        cluster = cast("ClusterPort", LinedCluster(self.cluster, line))
        return reconciler_over(self.settings, cluster, LinedStore(self.store, line), self.metrics, self.clock)

    def finish_jobs(self) -> bool:
        """Let all running Jobs come to an end; whether there were any."""
        self.cluster.admit()
        running = self.cluster.running()
        for job in running:
            self.finish(job)
        return bool(running)

    def finish(self, job: Manifest) -> None:
        """Let one running Job come to an end."""

        def counted(pod_input: Any, index: int) -> Any:
            self.runs.append((pod_input.result_uri, index))
            return self.program(pod_input, index)

        self.cluster.finish(job, run_pods(job, counted, self.store))
