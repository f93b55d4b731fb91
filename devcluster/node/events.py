"""Events on pods, which ``kubectl describe`` shows. They are a courtesy: one that can't be written is dropped."""

import asyncio
import secrets
from contextlib import suppress
from typing import Any

from .api import Api
from .clock import rfc3339
from .errors import ApiError

JSON = dict[str, Any]
_PENDING = 200


class Events:
    """Writes events in the background. Repetitions of a message on one pod are written once."""

    def __init__(self, api: Api, node: str) -> None:
        self._api = api
        self._node = node
        self._queue: asyncio.Queue[tuple[str, JSON]] = asyncio.Queue(_PENDING)
        self._said: set[tuple[str, str, str]] = set()

    def record(self, pod: JSON, kind: str, reason: str, message: str) -> None:
        """Queues an event; ``kind`` is Normal or Warning."""
        meta = pod["metadata"]
        said = (meta["uid"], reason, message)
        if said in self._said or self._queue.full():
            return
        self._said.add(said)
        now = rfc3339()
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{meta['name']}.{secrets.token_hex(8)}", "namespace": meta["namespace"]},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta["uid"],
            },
            "type": kind,
            "reason": reason,
            "message": message[:1000],
            "source": {"component": "devcluster-node", "host": self._node},
            "reportingComponent": "devcluster-node",
            "reportingInstance": self._node,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        self._queue.put_nowait((meta["namespace"], event))

    def forget(self, uid: str) -> None:
        """Drops what was remembered about a pod that is gone."""
        self._said = {one for one in self._said if one[0] != uid}

    async def run(self) -> None:
        """Writes what is queued, for ever."""
        while True:
            namespace, event = await self._queue.get()
            with suppress(ApiError):
                await self._api.request("POST", f"/api/v1/namespaces/{namespace}/events", event)
