"""The least that can be written with kopf about the same objects: the peer of `operator_memory.py`."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import kopf

GROUP, VERSION = "nasoa.io", "v1alpha1"


def main() -> None:
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**arguments: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_kubeconfig(**arguments)

    @kopf.on.startup(registry=registry)
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.posting.enabled = False
        settings.scanning.disabled = True

    @kopf.on.event(GROUP, VERSION, "nassearches", registry=registry)
    @kopf.on.event(GROUP, VERSION, "finetunerequests", registry=registry)
    @kopf.on.event("batch", "v1", "jobs", registry=registry)
    async def seen(**_: Any) -> None:
        """Nothing is done with what is seen."""

    asyncio.run(kopf.operator(registry=registry, standalone=True, namespaces=[os.environ["NAMESPACE"]]))


if __name__ == "__main__":
    main()
