"""What running pods say of themselves through Prometheus: step times, and how far they are."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from nasoa_operator.plan import Manifest
from nasoa_runtime.records import METRICS_PORT

logger = logging.getLogger(__name__)

PREFIX = "nasoa_"
PROFILED = "nasoa_profiled_step_seconds"
KNOWN = {
    "nasoa_step",
    "nasoa_planned_steps",
    "nasoa_loss",
    "nasoa_step_seconds",
    "nasoa_loading_seconds",
    "nasoa_images_per_second",
}
JOBS_KEPT = 2_000
PAGE_LIMIT_BYTES = 1_000_000


def profiled(architecture: str) -> str:
    """The name under which a profiled architecture's step time is kept."""
    return f"{PROFILED}:{architecture}"


def parse(text: str) -> dict[str, float]:
    """The samples we know of a metrics page, finite and not negative; a broken page has none."""
    found: dict[str, float] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if not 0 <= sample.value < 1e12:
                    continue
                if sample.name == PROFILED:
                    found[profiled(sample.labels.get("architecture", "")[:256])] = sample.value
                elif sample.name in KNOWN:
                    found[sample.name] = sample.value
    except ValueError as error:
        logger.debug("a metrics page can't be read: %s", error)
    return found


class StepTimes:
    """Scrapes the pods of running Jobs and remembers what was seen until the Job is recorded."""

    def __init__(self, session: aiohttp.ClientSession, timeout_seconds: float = 2.0) -> None:
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._seen: dict[str, dict[str, float]] = {}

    def of_job(self, job_uid: str) -> Mapping[str, float]:
        """What was seen of a Job so far."""
        return dict(self._seen.get(job_uid, {}))

    async def observe(self, job_uid: str, pods: Sequence[Manifest]) -> Mapping[str, float]:
        """Scrape the running pods of a Job; one that does not answer is passed over."""
        seen = self._seen.setdefault(job_uid, {})
        while len(self._seen) > JOBS_KEPT:
            self._seen.pop(next(iter(self._seen)))
        for pod in pods:
            status = pod.get("status", {})
            if status.get("phase") == "Running" and status.get("podIP"):
                seen.update(await self._scrape(status["podIP"]))
        return dict(seen)

    async def _scrape(self, address: str) -> dict[str, float]:
        host = f"[{address}]" if ":" in address else address
        try:
            async with self._session.get(f"http://{host}:{METRICS_PORT}/metrics", timeout=self._timeout) as response:
                if response.status != 200:
                    return {}
                page = b""
                async for chunk in response.content.iter_chunked(65_536):
                    page += chunk
                    if len(page) > PAGE_LIMIT_BYTES:
                        return {}
                return parse(page.decode(errors="replace"))
        except (aiohttp.ClientError, TimeoutError, OSError):
            return {}
