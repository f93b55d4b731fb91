"""A zoo of one tiny real network with a whole step-time table for this machine, and an operator to serve requests."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from demo.cluster import OPERATOR, POD_IMAGE, READER, SYSTEM_BUCKET, TENANT, TENANT_BUCKET
from devcluster import Cluster
from devcluster.processes import spawn
from devcluster.s3 import Keys
from nasoa_operator.crd import crd
from nasoa_operator.install import manifests
from nasoa_operator.settings import Settings
from nasoa_runtime.api.kinds import KINDS
from nasoa_runtime.boundary import Device, StepTime, digest
from nasoa_runtime.storage.intake import admit_weights
from nasoa_runtime.storage.s3 import ObjectStore, connect
from nasoa_runtime.storage.zoo import IMPORT, ZooModel, publish

# Roles and policies are the cluster's, so every test installs the same.
OPERATOR_NAMESPACE = Settings().namespace
TINY = "1-_4_1-1-1-1"
IMAGE_SIZE, CLASSES = 16, 3
SECRET = "storage"
STOP_SECONDS = 15.0


def store_of(cluster: Cluster, keys: Keys) -> ObjectStore:
    return connect(cluster.s3.endpoint, cluster.s3.region, keys.access_key, keys.secret_key)


def apply(cluster: Cluster, *documents: Mapping[str, Any]) -> None:
    cluster.kubectl("apply", "--server-side", "-f", "-", input=yaml.safe_dump_all([dict(d) for d in documents]))


def a_namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def a_secret(namespace: str, name: str, tenant: Keys, reader: Keys) -> dict[str, Any]:
    values = {
        "AWS_ACCESS_KEY_ID": tenant.access_key,
        "AWS_SECRET_ACCESS_KEY": tenant.secret_key,
        "NASOA_ZOO_ACCESS_KEY_ID": reader.access_key,
        "NASOA_ZOO_SECRET_ACCESS_KEY": reader.secret_key,
    }
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}


def install(cluster: Cluster, *namespaces: str) -> None:
    """CRDs, the operator's rights in ``namespaces``, and a Secret of the tenant's in each."""
    apply(cluster, *(a_namespace(name) for name in (OPERATOR_NAMESPACE, *namespaces)), *(crd(kind) for kind in KINDS))
    for kind in KINDS:
        cluster.kubectl("wait", "--for=condition=Established", f"crd/{kind.name}", "--timeout=30s")
    apply(cluster, *manifests(OPERATOR_NAMESPACE, list(namespaces), POD_IMAGE))
    keys = cluster.s3.keys
    apply(cluster, *(a_secret(name, SECRET, keys[TENANT], keys[READER]) for name in namespaces))


@contextmanager
def an_operator(cluster: Cluster, log: Path, *namespaces: str, **settings: str) -> Iterator[None]:
    """The operator as a process under its own account and S3 identity, looking at ``namespaces``."""
    keys = cluster.s3.keys[OPERATOR]
    variables = {
        "NASOA_KUBECONFIG": str(cluster.kubeconfig_for(OPERATOR_NAMESPACE, "nasoa")),
        "NASOA_WATCH_NAMESPACES": ",".join(namespaces),
        "NASOA_S3_ENDPOINT": cluster.s3.endpoint,
        "NASOA_RESYNC_SECONDS": "5",
        "NASOA_HEALTH_HOST": "127.0.0.1",
        "NASOA_HEALTH_PORT": "0",
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "OMP_NUM_THREADS": "1",
    }
    root = Path(__file__).resolve().parent.parent
    paths = {"PYTHONPATH": f"{root}:{root / 'operator'}"}
    process = spawn([sys.executable, "-m", "nasoa_operator"], log=log, variables=paths | variables | settings)
    try:
        yield
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def publish_zoo(cluster: Cluster, name: str, weights: bytes, product: str) -> None:
    """Publish the tiny network by the way of all weights: from the tenant's bucket, checked, into the zoo."""
    store = store_of(cluster, cluster.s3.keys[OPERATOR])
    uri = f"s3://{TENANT_BUCKET}/import/{name}.safetensors"
    store.put(uri, weights)
    rows = [
        StepTime(
            device="cpu",
            product=product,
            count=1,
            batch_size=32,
            image_size=IMAGE_SIZE,
            frozen_stages=frozen,
            channels_last=False,
            precision="fp32",
            step_seconds=0.02,
            inference_seconds=0.01,
        )
        for frozen in range(6)
    ]
    model = ZooModel.model_validate(
        {
            "name": f"{name}-1",
            "architecture": TINY,
            "weights_uri": uri,
            "weights_digest": digest(weights),
            "weights_bytes": len(weights),
            "class_count": CLASSES,
            "source": name,
            "preprocessing": {"image_size": IMAGE_SIZE},
            "low_resolution_stem": True,
            "source_accuracy": 0.8,
            "parameters": 1000,
            "macs": 100_000,
            "step_times": rows,
        }
    )
    publish(store, SYSTEM_BUCKET, name, IMPORT, [admit_weights(store, SYSTEM_BUCKET, name, model)])


def tiny_weights() -> tuple[bytes, str]:
    """Real weights of the tiny network, and the name of this machine's processor. Brings torch, which takes a while."""
    from nasoa_runtime.pods.networks.building import build_model
    from nasoa_runtime.pods.networks.weights import weights_bytes
    from nasoa_runtime.pods.training.device import product_of

    return weights_bytes(build_model(TINY, CLASSES, low_resolution_stem=True)), product_of(Device())
