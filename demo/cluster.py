"""The devcluster as demo, tests and benchmarks use it: the product's buckets, who may do what there, and its image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from devcluster import Cluster
from devcluster.binaries import silent
from devcluster.s3 import Rights
from nasoa_operator.settings import Settings
from nasoa_runtime.documents.keys import ZOOS

SYSTEM_BUCKET, TENANT_BUCKET = Settings().system_bucket, "nasoa-tenants"
BUCKETS = (SYSTEM_BUCKET, TENANT_BUCKET)
OPERATOR, READER, TENANT = "operator", "reader", "tenant"
IDENTITIES = {
    OPERATOR: Rights(reads=BUCKETS, writes=BUCKETS),
    READER: Rights(reads=(f"{SYSTEM_BUCKET}/{ZOOS}",)),
    TENANT: Rights(reads=(TENANT_BUCKET,), writes=(TENANT_BUCKET,)),
}
"""The identities of S3 that docs/admins.md asks for. All tenants share one."""
POD_IMAGE = Settings().pod_image
IMAGES = {POD_IMAGE: ("python", "-m", "nasoa_runtime")}
"""The entry point of the image that all our pods run: nodes do not read images."""


def start_cluster(
    folder: Path,
    *,
    name: str,
    progress: Callable[[str], None] = silent,
    nodes: int = 1,
    images: Mapping[str, Sequence[str]] = IMAGES,
) -> Cluster:
    """Start a cluster in which the product can be installed; see `devcluster.Cluster.start`."""
    return Cluster.start(
        folder, nodes=nodes, name=name, progress=progress, images=images, buckets=BUCKETS, identities=IDENTITIES
    )
