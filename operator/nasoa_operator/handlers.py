"""kopf's decorators, and nothing else: every event is a hint that an object is worth another look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kopf

from nasoa_operator.jobs import OWNER_UID_LABEL
from nasoa_operator.operator import Operator
from nasoa_operator.settings import Settings
from nasoa_runtime.api.base import GROUP, VERSION
from nasoa_runtime.api.kinds import KINDS

SERVER_TIMEOUT_SECONDS = 300
CLIENT_TIMEOUT_SECONDS = 330
CONNECT_TIMEOUT_SECONDS = 15
INACTIVITY_TIMEOUT_SECONDS = 75
WORKER_LIMIT = 100


def register(registry: kopf.OperatorRegistry, settings: Settings) -> None:
    """Register the handlers of one operator in ``registry``; the running operator is in kopf's memo."""
    register_life(registry, settings)
    for kind in KINDS:
        register_kind(registry, kind.kind, kind.plural)

    @kopf.on.event("batch", "v1", "jobs", registry=registry, labels={OWNER_UID_LABEL: kopf.PRESENT})
    async def hint_job(body: Mapping[str, Any], memo: kopf.Memo, **_: Any) -> None:
        running(memo).hint_job(body)

    @kopf.on.event("coordination.k8s.io", "v1", "leases", registry=registry)
    async def heartbeat(name: str | None, namespace: str | None, memo: kopf.Memo, **_: Any) -> None:
        operator = running(memo)
        if namespace == settings.namespace and name == operator.health.lease:
            operator.health.saw_heartbeat()


def running(memo: kopf.Memo) -> Operator:
    """The operator that the start-up handler has started; kopf hands it down from there to each object's memo."""
    operator: Operator = memo.operator
    return operator


def register_life(registry: kopf.OperatorRegistry, chosen: Settings) -> None:
    """Login, start and end of the operator."""

    @kopf.on.login(registry=registry)
    def login(**arguments: Any) -> kopf.ConnectionInfo | None:
        if chosen.kubeconfig is None and (found := kopf.login_with_service_account(**arguments)) is not None:
            return found
        return kopf.login_with_kubeconfig(**arguments)

    @kopf.on.startup(registry=registry)
    async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
        settings.watching.server_timeout = SERVER_TIMEOUT_SECONDS
        settings.watching.client_timeout = CLIENT_TIMEOUT_SECONDS
        settings.watching.connect_timeout = CONNECT_TIMEOUT_SECONDS
        settings.watching.inactivity_timeout = INACTIVITY_TIMEOUT_SECONDS
        settings.queueing.worker_limit = WORKER_LIMIT
        settings.posting.enabled = False
        settings.scanning.disabled = True
        memo.operator = await Operator.start(chosen)

    @kopf.on.cleanup(registry=registry)
    async def stop(memo: kopf.Memo, **_: Any) -> None:
        if "operator" in memo:
            await running(memo).stop()


def register_kind(registry: kopf.OperatorRegistry, kind: str, plural: str) -> None:
    """Hints about one of our kinds."""

    @kopf.on.event(GROUP, VERSION, plural, registry=registry, id=f"hint-{plural}")
    async def hint(
        body: Mapping[str, Any],
        type: str | None,  # noqa: A002 - kopf's name
        memo: kopf.Memo,
        **_: Any,
    ) -> None:
        generation = body["metadata"]["generation"]
        # The operator's own status writes come back too; only a new generation is news. A memo ends with its object.
        if type != "DELETED" and memo.get("generation") != generation:
            memo.generation = generation
            running(memo).hint_object(kind, body)
