"""The part of a kubelet's HTTPS interface that ``kubectl logs`` needs.

Callers show a certificate of the cluster's authority. Who may read is the API server's decision, as with a kubelet:
it is asked whether the caller may ``get`` the ``proxy`` of this node.
"""

import asyncio
import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from .addresses import HOST_IP
from .agent import Agent
from .api import Api
from .errors import ApiError
from .logs import LogOptions, select
from .pod_worker import PodWorker
from .status import Running, Waiting

JSON = dict[str, Any]

_FOLLOW_SECONDS = 0.1
_CHUNK_BYTES = 1 << 20
_MASTERS = "system:masters"


def tls_context(certificate: Path, key: Path, client_authority: Path) -> ssl.SSLContext:
    """A context that refuses callers without a certificate of the cluster's authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(client_authority))
    context.load_cert_chain(str(certificate), str(key))
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def caller(certificate: JSON | None) -> tuple[str, list[str]]:
    """Returns the user (common name) and the groups (organisations) of a client certificate."""
    fields = [pair for entry in (certificate or {}).get("subject", ()) for pair in entry]
    names = [value for key, value in fields if key == "commonName"]
    return (names[0] if names else ""), [value for key, value in fields if key == "organizationName"]


class Server:
    """Serves the node's pods, logs and health on a free port of 127.0.0.1."""

    def __init__(self, api: Api, agent: Agent, node: str, context: ssl.SSLContext) -> None:
        self._api = api
        self._agent = agent
        self._node = node
        self._context = context
        application = web.Application(middlewares=[self._authorize])
        application.add_routes(
            [
                web.get("/healthz", self._health),
                web.get("/pods", self._pods),
                web.get("/containerLogs/{namespace}/{pod}/{container}", self._logs),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)

    async def start(self) -> int:
        """Starts to listen; returns the port."""
        await self._runner.setup()
        listening = socket.create_server((HOST_IP, 0))
        await web.SockSite(self._runner, listening, ssl_context=self._context).start()
        return int(listening.getsockname()[1])

    async def stop(self) -> None:
        """Ends all connections."""
        await self._runner.cleanup()

    @web.middleware
    async def _authorize(self, request: web.Request, handler: Any) -> web.StreamResponse:
        certificate = request.transport.get_extra_info("peercert") if request.transport else None
        user, groups = caller(certificate)
        if _MASTERS not in groups and not await self._allowed(user, groups):
            text = f"Forbidden (user={user}, verb=get, resource=nodes, subresource=proxy)"
            return web.Response(status=403, text=text)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _allowed(self, user: str, groups: list[str]) -> bool:
        attributes = {"verb": "get", "version": "v1", "resource": "nodes", "subresource": "proxy", "name": self._node}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user, "groups": [*groups, "system:authenticated"], "resourceAttributes": attributes},
        }
        try:
            path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
            answer = await self._api.request("POST", path, review)
        except ApiError:
            return False
        return bool(answer["status"].get("allowed"))

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _pods(self, _request: web.Request) -> web.Response:
        return web.json_response({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": self._agent.pods()})

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        namespace, pod, container = (request.match_info[key] for key in ("namespace", "pod", "container"))
        worker = self._agent.find(namespace, pod)
        if worker is None:
            return web.Response(status=404, text=f"pod {pod!r} is not on this node")
        names = [one.name for one in (*worker.state.record.init, *worker.state.record.main)]
        if container not in names:
            return web.Response(status=404, text=f"container {container!r} not found in pod {pod!r}")
        try:
            options = LogOptions.parse(dict(request.query), datetime.now(UTC))
        except ValueError as error:
            return web.Response(status=400, text=f"malformed query: {error}")
        record = worker.state.record.container(container)
        restart, wanted = record.restarts, ""
        if request.query.get("previous") == "true":
            restart, wanted = restart - 1, "previous terminated "
        path = worker.paths.log(container, restart)
        if not path.exists():
            reason = record.state.reason if isinstance(record.state, Waiting) and not wanted else "no such log"
            text = f'{wanted}container "{container}" in pod "{pod}" is waiting to start: {reason}'
            return web.Response(status=400, text=text)
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        await _send(response, path, options, worker, container, restart)
        return response


async def _send(
    response: web.StreamResponse, path: Path, options: LogOptions, worker: PodWorker, container: str, restart: int
) -> None:
    left = options.limit_bytes
    first = LogOptions(timestamps=options.timestamps, tail_lines=options.tail_lines, since=options.since)
    later = LogOptions(timestamps=options.timestamps)
    with path.open("rb") as file:
        chosen, partial = first, b""
        while True:
            # Asked before reading: what a container wrote before it ended is then still read.
            running = _runs(worker, container, restart)
            data = partial + (file.read() if chosen is first else file.read(_CHUNK_BYTES))
            *lines, partial = data.split(b"\n")
            shown = b"".join(line + b"\n" for line in select(lines, chosen))
            chosen = later
            shown = shown if left is None else shown[:left]
            if shown:
                await response.write(shown)
            left = None if left is None else left - len(shown)
            if not options.follow or left == 0 or (not running and not lines):
                return
            if not lines:
                await asyncio.sleep(_FOLLOW_SECONDS)


def _runs(worker: PodWorker, container: str, restart: int) -> bool:
    record = worker.state.record.container(container)
    # A log begins a moment before its container is reported as running.
    starting = isinstance(record.state, Waiting) and record.state.reason == "ContainerCreating"
    return record.restarts == restart and (starting or isinstance(record.state, Running))
