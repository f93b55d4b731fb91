"""The only module that talks to the API server: plain manifests in, plain manifests out, and typed absences."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio import client, config

from nasoa_operator import metrics
from nasoa_operator.jobs import INPUT_DIGEST_ANNOTATION, OWNER_UID_LABEL
from nasoa_operator.plan import Manifest
from nasoa_runtime.api.base import GROUP, VERSION
from nasoa_runtime.api.kinds import PLURALS

logger = logging.getLogger(__name__)

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
PAGE = 500
SHOWN_BYTES = 100
"""How much is shown of an answer that can't be read."""


class ClusterError(Exception):
    """The API server refused or failed; ``temporary`` tells whether another try may succeed."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message

    @property
    def temporary(self) -> bool:
        """Whether the same call may succeed later."""
        return self.status in {0, 408, 409, 429} or self.status >= 500


class NameConflictError(Exception):
    """A Job of the wanted name exists, but is not this owner's or was made from another input."""


class Cluster:
    """A client for the few calls that the operator makes. Every call has a timeout."""

    def __init__(self, api: client.ApiClient, timeout_seconds: float = 30.0) -> None:
        self._api = api
        self._timeout = timeout_seconds

    @classmethod
    async def connect(cls, kubeconfig: Path | None) -> Cluster:
        """Connect by ``kubeconfig``, or by the pod's service account where there is one."""
        configuration = client.Configuration()
        if kubeconfig is None and in_cluster():
            config.load_incluster_config(client_configuration=configuration)
        else:
            await config.load_kube_config(
                config_file=str(kubeconfig) if kubeconfig else None, client_configuration=configuration
            )
        return cls(client.ApiClient(configuration))

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Any:
        """One call; the decoded answer.

        Raises:
            ClusterError: for any status above 299, and with status 0 where no whole answer of the API server has come.
        """
        headers = {"Accept": "application/json", "Content-Type": content_type}
        metrics.API_REQUESTS.labels(method).inc()
        url = self._api.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        try:
            await self._api.update_params_for_auth(headers, [], ["BearerToken"], None, method, None)
            response = await self._api.call_api(
                method, url, header_params=headers, body=body, _request_timeout=self._timeout
            )
            content = await response.read()
        except client.ApiException as error:
            raise ClusterError(error.status or 0, str(error.reason)) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            # Some of these have no words of their own.
            raise ClusterError(0, f"the API server can't be reached: {type(error).__name__}: {error}") from error
        return answer_of(response.status, response.reason, content)

    # --- our kinds ---

    def _path(self, kind: str, namespace: str, name: str = "", subresource: str = "") -> str:
        parts = ["/apis", GROUP, VERSION, "namespaces", quote(namespace), PLURALS[kind], quote(name), subresource]
        return "/".join(part for part in parts if part)

    async def get_object(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """One object of our kinds, read uncached; ``None`` where there is none."""
        return await self._get(self._path(kind, namespace, name))

    async def list_objects(self, kind: str, namespaces: tuple[str, ...]) -> list[Manifest]:
        """All objects of a kind in ``namespaces`` (all namespaces where empty)."""
        if not namespaces:
            return await self._list(f"/apis/{GROUP}/{VERSION}/{PLURALS[kind]}")
        return [found for namespace in namespaces for found in await self._list(self._path(kind, namespace))]

    async def write_status(self, manifest: Manifest, status: Mapping[str, Any]) -> Manifest | None:
        """Replace the status of ``manifest`` as it was read; ``None`` if it has changed or gone since."""
        metadata = manifest["metadata"]
        path = self._path(manifest["kind"], metadata["namespace"], metadata["name"], "status")
        try:
            written: Manifest = await self.request("PUT", path, body={**manifest, "status": dict(status)})
        except ClusterError as error:
            if error.status in {404, 409}:
                return None
            raise
        return written

    # --- Jobs and pods ---

    async def list_jobs(self, namespace: str, owner_uid: str) -> list[Manifest]:
        """The Jobs of an owner."""
        return await self._list(f"/apis/batch/v1/namespaces/{namespace}/jobs", f"{OWNER_UID_LABEL}={owner_uid}")

    async def list_pods(self, namespace: str, job: str) -> list[Manifest]:
        """The pods of a Job."""
        return await self._list(f"/api/v1/namespaces/{namespace}/pods", f"batch.kubernetes.io/job-name={job}")

    async def create_job(self, manifest: Manifest) -> bool:
        """Create a Job; ``False`` if it is there already, made by the same owner from the same input.

        Raises:
            NameConflictError: if the name is taken by something else.
        """
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        try:
            await self.request("POST", path, body=manifest)
        except ClusterError as error:
            if error.status != 409:
                raise
            there = await self._get(f"{path}/{name}")
            if there is not None and not same_origin(there, manifest):
                msg = f"Job {name} exists, but belongs to something else; delete or rename it"
                raise NameConflictError(msg) from error
            return False
        return True

    async def delete_job(self, namespace: str, name: str, uid: str) -> None:
        """Delete one Job and its pods; gone already is success."""
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        try:
            await self.request("DELETE", f"/apis/batch/v1/namespaces/{namespace}/jobs/{name}", body=body)
        except ClusterError as error:
            if error.status not in {404, 409}:
                raise

    async def suspend_job(self, namespace: str, name: str, *, suspend: bool) -> None:
        """Suspend or resume a Job that no queue admits."""
        await self._patch(f"/apis/batch/v1/namespaces/{namespace}/jobs/{name}", {"spec": {"suspend": suspend}})

    async def activate_workload(self, namespace: str, job_uid: str, *, active: bool) -> None:
        """Set ``active`` of the Kueue Workload that stands for a Job; nothing happens where there is none."""
        path = f"/apis/kueue.x-k8s.io/v1beta1/namespaces/{namespace}/workloads"
        for workload in await self._list(path, f"kueue.x-k8s.io/job-uid={job_uid}"):
            if workload["spec"].get("active", True) == active:
                continue
            await self._patch(f"{path}/{workload['metadata']['name']}", {"spec": {"active": active}})

    # --- events and leases ---

    async def create_event(self, event: Manifest) -> None:
        """Write an Event; one of that name is the same one."""
        try:
            await self.request("POST", f"/api/v1/namespaces/{event['metadata']['namespace']}/events", body=event)
        except ClusterError as error:
            # An event is a courtesy: a namespace on its way out, say, must not stop the reconciliation.
            if error.status != 409:
                logger.warning("event %s not written: %s", event["metadata"]["name"], error)

    async def renew_lease(self, namespace: str, name: str, spec: Mapping[str, Any]) -> None:
        """Create or renew the operator's own Lease."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        try:
            await self._patch(f"{path}/{name}", {"spec": dict(spec)})
        except ClusterError as error:
            if error.status != 404:
                raise
            metadata = {"name": name, "namespace": namespace}
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": dict(spec)}
            await self.request("POST", path, body=lease)

    async def delete_lease(self, namespace: str, name: str) -> None:
        """Delete the operator's own Lease; gone already is success."""
        try:
            await self.request("DELETE", f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}")
        except ClusterError as error:
            if error.status != 404:
                raise

    # --- shared ---

    async def _get(self, path: str) -> Manifest | None:
        try:
            document: Manifest = await self.request("GET", path)
        except ClusterError as error:
            if error.status == 404:
                return None
            raise
        return document

    async def _list(self, path: str, selector: str = "") -> list[Manifest]:
        items: list[Manifest] = []
        query = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
        while True:
            page = await self._get_page(path, query)
            items.extend(page.get("items", []))
            token = page.get("metadata", {}).get("continue")
            if not token:
                return items
            query["continue"] = token

    async def _get_page(self, path: str, query: Mapping[str, str]) -> Manifest:
        try:
            page: Manifest = await self.request("GET", path, query=query)
        except ClusterError as error:
            if error.status == 404:
                return {}
            raise
        return page

    async def _patch(self, path: str, body: Mapping[str, Any]) -> None:
        await self.request("PATCH", path, body=dict(body), content_type="application/merge-patch+json")


def answer_of(status: int, reason: str | None, content: bytes) -> Any:
    """The decoded content of an answer; a proxy on the way may have answered in the API server's stead.

    Raises:
        ClusterError: for any status above 299, and with status 0 where the content is no JSON object.
    """
    try:
        document = json.loads(content) if content else {}
    except ValueError:
        document = None
    if status > 299:
        words = document.get("message") if isinstance(document, dict) else None
        raise ClusterError(status, str(words or reason))
    if not isinstance(document, dict):
        start = content[:SHOWN_BYTES].decode(errors="replace")
        raise ClusterError(0, f"what answers in the API server's stead gives what is not a JSON object: {start}")
    return document


def in_cluster() -> bool:
    """Whether the process runs in a pod with a service account."""
    return SERVICE_ACCOUNT.exists()


def same_origin(there: Manifest, wanted: Manifest) -> bool:
    """Whether two Jobs have the same controller and were made from the same input."""

    def origin(job: Manifest) -> tuple[Any, Any]:
        metadata = job["metadata"]
        owners = [o["uid"] for o in metadata.get("ownerReferences", []) if o.get("controller")]
        return owners, metadata.get("annotations", {}).get(INPUT_DIGEST_ANNOTATION)

    return origin(there) == origin(wanted)
