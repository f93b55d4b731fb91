"""The node's requests to the API server, as plain JSON: manifests are passed on, not modelled."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import client, config

from .errors import ApiError

JSON = dict[str, Any]

REQUEST_SECONDS = 15
WATCH_SECONDS = 240
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"


class Api:
    """A connection to the API server.

    Every method raises `ApiError` when the server refuses or can't be reached; none retries.
    """

    def __init__(self, connection: Any) -> None:
        self._client = connection

    @classmethod
    async def connect(cls, kubeconfig: str, scratch: Path) -> "Api":
        """Reads a kubeconfig; certificates in it are written to ``scratch``. Nothing is sent yet."""
        settings = client.Configuration()
        await config.load_kube_config(
            config_file=kubeconfig, client_configuration=settings, persist_config=False, temp_file_path=str(scratch)
        )
        # The API server of a local cluster is on this machine: a proxy from the environment can't reach it.
        settings.client_session_kwargs = {"trust_env": False}
        settings.connection_pool_maxsize = 100
        return cls(client.ApiClient(configuration=settings))

    @property
    def server(self) -> str:
        """The API server's address."""
        return str(self._client.configuration.host)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()

    async def request(
        self,
        method: str,
        path: str,
        body: JSON | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> JSON:
        """Sends a request and returns the answer."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                response = await self._send(method, path, body, query, content_type, REQUEST_SECONDS)
                data = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError, client.ApiException) as error:
            raise ApiError(0, f"{method} {path}: {error!r}") from error
        try:
            document: JSON = json.loads(data) if data else {}
        except ValueError:
            document = {}
        if not 200 <= response.status < 300:
            raise ApiError(response.status, str(document.get("message", data)))
        return document

    async def _send(
        self,
        method: str,
        path: str,
        body: JSON | None,
        query: Mapping[str, str] | None,
        content_type: str,
        timeout: float,  # noqa: ASYNC109
    ) -> Any:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        url = self.server + path + (f"?{urlencode(query)}" if query else "")
        return await self._client.call_api(method, url, headers, body, _request_timeout=timeout)

    async def watch(self, path: str, query: Mapping[str, str]) -> AsyncIterator[JSON]:
        """Yields watch events until the server ends the watch, which it does after a few minutes."""
        asked = {**query, "watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(WATCH_SECONDS)}
        try:
            response = await self._send("GET", path, None, asked, "application/json", WATCH_SECONDS + 30)
            if response.status != 200:
                raise ApiError(response.status, f"watch {path}: {(await response.read())[:500]!r}")
            stream = response.response
            try:
                while line := await stream.content.readline():
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise ApiError(event["object"].get("code", 500), event["object"].get("message", ""))
                    yield event
            finally:
                stream.close()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, client.ApiException) as error:
            raise ApiError(0, f"watch {path}: {error!r}") from error

    async def get(self, namespace: str, plural: str, name: str) -> JSON:
        """Returns an object of the core group; cluster-scoped where ``namespace`` is empty."""
        scope = f"/namespaces/{namespace}" if namespace else ""
        return await self.request("GET", f"/api/v1{scope}/{plural}/{name}")

    async def find(self, namespace: str, plural: str, name: str) -> JSON | None:
        """Like `get`, with ``None`` for an object that does not exist."""
        try:
            return await self.get(namespace, plural, name)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def patch_pod_status(self, pod: JSON, status: JSON) -> JSON:
        """Merges a status into the pod's; refused (409) when the name now belongs to another pod."""
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/status"
        return await self.request(
            "PATCH", path, {"metadata": {"uid": meta["uid"]}, "status": status}, content_type=STRATEGIC_PATCH
        )

    async def delete_pod(self, pod: JSON) -> None:
        """Removes a pod that has ended from the API."""
        meta = pod["metadata"]
        body = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": meta["uid"]},
        }
        await self.request("DELETE", f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}", body)

    async def service_account_token(self, pod: JSON, audience: str | None, seconds: int) -> tuple[str, str]:
        """Returns a token bound to the pod, and when it expires."""
        meta = pod["metadata"]
        account = pod["spec"].get("serviceAccountName", "default")
        spec: JSON = {
            "expirationSeconds": seconds,
            "audiences": [audience] if audience else [],
            "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": meta["name"], "uid": meta["uid"]},
        }
        path = f"/api/v1/namespaces/{meta['namespace']}/serviceaccounts/{account}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = await self.request("POST", path, body)
        return answer["status"]["token"], answer["status"]["expirationTimestamp"]
