import sys

import pytest

from devcluster.node.addresses import AddressPool
from devcluster.node.api import Api
from devcluster.node.devices import Devices
from devcluster.node.environment import Placement
from devcluster.node.errors import ContainerConfigError
from devcluster.node.events import Events
from devcluster.node.launching import build_launch
from devcluster.node.machine import Capacity, Machine
from devcluster.node.pod_paths import PodPaths


class _Connection:
    """A connection that only knows its address: nothing here sends a request."""

    class configuration:  # noqa: N801
        host = "https://127.0.0.1:6443"


@pytest.fixture
def machine(tmp_path):
    api = Api(_Connection())
    capacity = Capacity((0, 1), 1024, 1024, 110)
    refused = "unshare: Operation not permitted"
    images = {"example/app:1": ["python", "-m", "app"]}
    return Machine("n", tmp_path, api, Events(api, "n"), capacity, refused, Devices((0, 1)), AddressPool(), images)


def launching(machine, **fields):
    container = {"name": "main", "image": "example/app:1", "args": ["probe"], **fields}
    pod = {
        "metadata": {"name": "p", "namespace": "n", "uid": "u"},
        "spec": {"containers": [container]},
    }
    return build_launch(machine, pod, container, {}, Placement("127.1.2.3", "127.0.0.1"))


async def test_where_nothing_can_be_mounted_a_pod_says_what_to_do(machine):
    with pytest.raises(ContainerConfigError, match="run the node as root or permit unprivileged user namespaces"):
        await launching(machine, volumeMounts=[{"name": "data", "mountPath": "/data"}])


async def test_where_nothing_can_be_mounted_other_pods_run(machine, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the node's own")
    token = {"name": "t", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    launch = await launching(machine, volumeMounts=[token], resources={"requests": {"cpu": "1"}})
    paths = PodPaths.of(tmp_path, "u")
    assert launch.arguments == [sys.executable, "-m", "app", "probe"]
    assert (launch.root, launch.mounts, launch.cpus) == ("", [], [0])
    assert launch.variables["TERMINATION_MESSAGE_PATH"] == str(paths.message("main"))
    assert launch.variables["TMPDIR"] == str(paths.temporary("main"))
    assert launch.variables["OMP_NUM_THREADS"] == "1"
    assert launch.variables["KUBERNETES_SERVICE_PORT"] == "6443"
    assert "AWS_SECRET_ACCESS_KEY" not in launch.variables
    assert paths.work("main").is_dir()


async def test_an_init_container_that_would_run_on_is_refused(machine):
    with pytest.raises(ContainerConfigError, match="runs no sidecar containers"):
        await launching(machine, restartPolicy="Always")
