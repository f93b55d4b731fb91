"""A Kubernetes cluster and an S3 store on one machine, for the demo and for tests.

``from devcluster import Cluster`` loads what starts clusters only when it is asked for: the programs that stand
beside each pod import this package too and must start fast.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cluster import Cluster

__all__ = ["Cluster"]


def __getattr__(name: str) -> Any:
    if name != "Cluster":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .cluster import Cluster  # noqa: PLC0415

    return Cluster
