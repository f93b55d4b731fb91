"""``python -m nasoa_operator``: run the operator until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

import kopf

from nasoa_operator.cluster import Cluster
from nasoa_operator.enrolment import watchable
from nasoa_operator.handlers import register
from nasoa_operator.settings import Settings, SettingsError


async def run(registry: kopf.OperatorRegistry, settings: Settings) -> None:
    """Watch what may be watched, until told to stop."""
    watched: set[str] = set()
    if settings.watch_namespaces:
        cluster = await Cluster.connect(settings.kubeconfig)
        watched = {settings.namespace, *await watchable(cluster, settings.watch_namespaces)}
        await cluster.close()
    await kopf.operator(registry=registry, standalone=True, clusterwide=not watched, namespaces=sorted(watched))


def main() -> int:
    """Read the settings, register the handlers, and hand over to kopf."""
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        print(f"nasoa-operator: {error}", file=sys.stderr)
        return 2
    if settings.kubeconfig is not None:
        os.environ["KUBECONFIG"] = str(settings.kubeconfig)
    log_format = kopf.LogFormat.JSON if settings.log_format == "json" else kopf.LogFormat.FULL
    kopf.configure(verbose=settings.log_level == "DEBUG", log_format=log_format)
    logging.getLogger("nasoa_operator").setLevel(settings.log_level)
    # Every event of a watch is a line for kopf; what follows from it is in the objects' own events.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    registry = kopf.OperatorRegistry()
    register(registry, settings)
    asyncio.run(run(registry, settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
