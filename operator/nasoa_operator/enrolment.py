"""Which namespaces can be watched: a watch that is forbidden would end the whole operator.

A namespace that is listed but not enrolled is looked at by the resync task alone, which tells its objects so. Once it
is enrolled they are served; its watches start with the operator's next start.
"""

from __future__ import annotations

import logging

from nasoa_operator.cluster import Cluster, ClusterError

logger = logging.getLogger(__name__)

WATCHED = ("/apis/batch/v1/namespaces/{}/jobs", "/apis/coordination.k8s.io/v1/namespaces/{}/leases")


async def watchable(cluster: Cluster, namespaces: tuple[str, ...]) -> tuple[str, ...]:
    """Those of ``namespaces`` in which Jobs and Leases may be listed; all while the API server does not answer."""
    return tuple([namespace for namespace in namespaces if await may_list(cluster, namespace)])


async def may_list(cluster: Cluster, namespace: str) -> bool:
    """Whether the operator may list what it watches in ``namespace``."""
    for path in WATCHED:
        try:
            await cluster.request("GET", path.format(namespace), query={"limit": "1"})
        except ClusterError as error:
            if error.status == 403:
                logger.warning("namespace %s is not watched: it is not enrolled (%s)", namespace, error.message)
                return False
    return True
