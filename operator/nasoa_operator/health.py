"""Liveness, readiness and the operator's own metrics over HTTP."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

STALE_SECONDS = 120.0


@dataclass
class Health:
    """What the process knows of itself.

    It is alive while its resync task ticks and its own Lease's heartbeats come back through the watch. The second is
    judged only while direct reads succeed: an unreachable API server is no reason to restart, it fails readiness alone.
    """

    lease: str
    reads_succeed: bool = False
    _ticked: float = field(default_factory=time.monotonic)
    _seen: float = field(default_factory=time.monotonic)
    _runner: web.AppRunner | None = None
    port: int = 0

    def tick(self) -> None:
        """The resync task has run."""
        self._ticked = time.monotonic()

    def saw_heartbeat(self) -> None:
        """The own Lease came through the watch."""
        self._seen = time.monotonic()

    def problem(self) -> str | None:
        """Why the process should be restarted; ``None`` if it need not."""
        now = time.monotonic()
        if now - self._ticked > STALE_SECONDS:
            return f"the resync task has not run for {now - self._ticked:.0f} s"
        if self.reads_succeed and now - self._seen > STALE_SECONDS:
            return f"the watch has brought no heartbeat for {now - self._seen:.0f} s"
        return None

    async def serve(self, host: str, port: int) -> None:
        """Serve ``/healthz``, ``/readyz`` and ``/metrics``."""
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        problem = self.problem()
        return web.Response(text=problem or "ok", status=503 if problem else 200)

    async def _readyz(self, _: web.Request) -> web.Response:
        ready = self.reads_succeed
        return web.Response(text="ok" if ready else "the API server does not answer", status=200 if ready else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
