"""What running pods say of themselves through Prometheus: step times, and how far they are.

Where a Prometheus is configured it is asked; without one, or while it does not answer, the pods are scraped.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from nasoa_operator.plan import Manifest
from nasoa_runtime.boundary import METRICS_PORT

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
    "nasoa_race_rung",
    "nasoa_race_running",
}
JOBS_KEPT = 2_000
LARGEST = 1e12
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
                found |= known_sample(sample.name, sample.labels, sample.value)
    except ValueError as error:
        logger.debug("a metrics page can't be read: %s", error)
    return found


def known_sample(name: str, labels: Mapping[str, str], value: float) -> dict[str, float]:
    """A sample under the name by which it is kept; nothing if it is not ours, or no figure."""
    if not 0 <= value < LARGEST:
        return {}
    if name == PROFILED:
        return {profiled(labels.get("architecture", "")[:256]): value}
    return {name: value} if name in KNOWN else {}


def parse_answer(answer: Any) -> dict[str, float]:
    """The samples we know of an answer of Prometheus's query API; a broken answer has none."""
    found: dict[str, float] = {}
    try:
        for series in answer["data"]["result"]:
            labels = series["metric"]
            found |= known_sample(labels["__name__"], labels, float(series["value"][1]))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        logger.debug("an answer of Prometheus can't be read: %r", error)
    return found


class StepTimes:
    """Scrapes the pods of running Jobs and remembers what was seen until the Job is recorded."""

    def __init__(
        self, session: aiohttp.ClientSession, prometheus_url: str | None = None, timeout_seconds: float = 2.0
    ) -> None:
        self._session = session
        self._prometheus_url = prometheus_url.rstrip("/") if prometheus_url else None
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._seen: dict[str, dict[str, float]] = {}

    def of_job(self, job_uid: str) -> Mapping[str, float]:
        """What was seen of a Job so far."""
        return dict(self._seen.get(job_uid, {}))

    async def observe(self, job_uid: str, pods: Sequence[Manifest]) -> Mapping[str, float]:
        """What the running pods of a Job say now; one that does not answer is passed over."""
        seen = self._seen.setdefault(job_uid, {})
        while len(self._seen) > JOBS_KEPT:
            self._seen.pop(next(iter(self._seen)))
        asked = await self._ask(pods) if self._prometheus_url is not None else {}
        if asked:
            seen.update(asked)
            return dict(seen)
        for pod in pods:
            status = pod.get("status", {})
            if status.get("phase") == "Running" and status.get("podIP"):
                seen.update(await self._scrape(status["podIP"]))
        return dict(seen)

    async def _ask(self, pods: Sequence[Manifest]) -> dict[str, float]:
        """Ask Prometheus for the last samples of ``pods``, by the labels that pod monitors attach."""
        running = [pod["metadata"] for pod in pods if pod.get("status", {}).get("phase") == "Running"]
        if not running:
            return {}
        names = "|".join(re.escape(metadata["name"]).replace("\\", "\\\\") for metadata in running)
        query = f'{{__name__=~"{PREFIX}.+",namespace="{running[0]["namespace"]}",pod=~"{names}"}}'
        url = f"{self._prometheus_url}/api/v1/query"
        try:
            async with self._session.get(url, params={"query": query}, timeout=self._timeout) as response:
                return parse_answer(await response.json()) if response.status == 200 else {}
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            logger.warning("Prometheus at %s does not answer, the pods are scraped: %s", self._prometheus_url, error)
            return {}

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
