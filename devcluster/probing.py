"""Asks components whether they can be used, in the supervisor's own event loop."""

import asyncio
import json
import ssl
from typing import Any

from .components import Health
from .controlplane import LOOPBACK
from .layout import Layout

_ANSWER_SECONDS = 2.0
_LIMIT_BYTES = 4 << 20


class Prober:
    """HTTP requests to loopback, as the cluster's administrator where TLS is spoken."""

    def __init__(self, layout: Layout) -> None:
        self._context = ssl.create_default_context(cafile=str(layout.pki / "ca.crt"))
        self._context.load_cert_chain(str(layout.pki / "admin.crt"), str(layout.pki / "admin.key"))

    async def healthy(self, health: Health) -> bool:
        """Whether the request is answered with 200 now."""
        answer = await self._get(health)
        return answer is not None and answer[0] == 200

    async def document(self, port: int, path: str) -> dict[str, Any] | None:
        """The JSON document that the API server has under a path; None if it has none or does not answer."""
        answer = await self._get(Health(port, path))
        if answer is None or answer[0] != 200:
            return None
        parsed: dict[str, Any] = json.loads(answer[1])
        return parsed

    async def _get(self, health: Health) -> tuple[int, bytes] | None:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await self._exchange(health)
        except (OSError, TimeoutError, ValueError, IndexError, EOFError):
            # Not yet there, or ending: both mean that it can't be used now.
            return None

    async def _exchange(self, health: Health) -> tuple[int, bytes]:
        context = self._context if health.tls else None
        reader, writer = await asyncio.open_connection(LOOPBACK, health.port, ssl=context, limit=_LIMIT_BYTES)
        try:
            # With HTTP/1.0 the answer ends with the connection, and is never in chunks.
            request = f"GET {health.path} HTTP/1.0\r\nHost: {LOOPBACK}\r\nAccept: application/json\r\n\r\n"
            writer.write(request.encode("ascii"))
            answer = await reader.read()
        finally:
            writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body


def node_ready(node: dict[str, Any] | None) -> bool:
    """Whether a Node says that pods can run on it."""
    conditions = (node or {}).get("status", {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
