"""Writes a pod's status, as often as it changes and as long as it takes."""

import asyncio
import logging
from typing import Any

from .api import Api
from .clock import rfc3339
from .errors import ApiError
from .pod_state import PodState
from .status import PodRecord, pod_status

JSON = dict[str, Any]

_FIRST_RETRY_SECONDS = 0.2
_LAST_RETRY_SECONDS = 5.0
_log = logging.getLogger(__name__)


class StatusReporter:
    """Keeps the status of one pod in the API equal to what the node knows."""

    def __init__(self, api: Api, state: PodState) -> None:
        self._api = api
        self._state = state
        self._lock = asyncio.Lock()
        self._written: PodRecord | None = None
        self._conditions: list[JSON] | None = None
        self.refused = asyncio.Event()

    async def run(self) -> None:
        """Writes every change, until cancelled."""
        while True:
            await self._state.unreported.wait()
            self._state.unreported.clear()
            await self.flush()

    async def flush(self) -> None:
        """Returns when the status is written, or the pod is no longer there (then ``refused`` is set)."""
        delay = _FIRST_RETRY_SECONDS
        async with self._lock:
            while not self.refused.is_set():
                # The record may change while it is being written: then it is written again.
                record = self._state.record
                if record == self._written:
                    return
                try:
                    answer = await self._api.patch_pod_status(self._state.pod, self._status(record))
                except ApiError as error:
                    if error.status == 404 or (error.status == 409 and await self._replaced()):
                        self.refused.set()
                        return
                    if error.status in {400, 422}:
                        # Trying again would not help, and another change may be acceptable.
                        _log.error("status of %s refused: %s", self._state.pod["metadata"]["name"], error.message)
                        self._written = record
                        return
                    await asyncio.sleep(delay)
                    delay = min(2 * delay, _LAST_RETRY_SECONDS)
                    continue
                self._conditions = answer["status"].get("conditions") or []
                self._written = record

    async def _replaced(self) -> bool:
        """Whether the pod's name belongs to another pod now. Otherwise a conflict is with another writer's update."""
        meta = self._state.pod["metadata"]
        try:
            found = await self._api.find(meta["namespace"], "pods", meta["name"])
        except ApiError:
            return False
        return found is None or found["metadata"]["uid"] != meta["uid"]

    def _status(self, record: PodRecord) -> JSON:
        pod = self._state.pod
        known = self._conditions
        if known is None:
            known = (pod.get("status") or {}).get("conditions") or []
        policy = pod["spec"].get("restartPolicy", "Always")
        return pod_status(record, policy, known, pod["metadata"].get("generation"), rfc3339())
