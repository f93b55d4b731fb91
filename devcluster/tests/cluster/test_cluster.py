"""The cluster on this machine: it starts, it keeps out of others' way, and it goes without leaving anything."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from devcluster import Cluster
from devcluster.cluster import ClusterError, KubectlError
from devcluster.ports import ports_of
from devcluster.processes import identify
from devcluster.roster import Roster
from devcluster.s3 import leftovers
from devcluster.tests.processes_left import all_end, processes_of

ROOT = Path(__file__).parents[3]
OWNER = """
import signal, sys
from devcluster import Cluster
with Cluster.start(sys.argv[1], nodes=int(sys.argv[2]), progress=lambda text: print(text, flush=True)):
    print("ready", flush=True)
    signal.pause()
"""
PATIENCE_SECONDS = 60.0


def python(*arguments, **options):
    return [sys.executable, *arguments], options | {"env": os.environ | {"PYTHONPATH": str(ROOT)}, "text": True}


@contextmanager
def an_owner(folder, nodes):
    """A process that owns a cluster and tells on its output what it does."""
    command, options = python("-c", OWNER, str(folder), str(nodes), stdout=subprocess.PIPE)
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def says(process, text):
    return any(text in line for line in process.stdout)


def running(folder):
    """Everything that the cluster's folder says is running."""
    roster = Roster.read(folder / "cluster.json")
    return [roster.supervisor, *roster.processes.values()]


def a_pod_that_stays(cluster):
    """Runs a pod; returns the process id as its own log tells it."""
    # Kubernetes itself halves doubled dollar signs in commands.
    script = "echo $$$$; exec sleep 600"
    cluster.kubectl("run", "stays", "--image=none", "--restart=Never", "--command", "--", "sh", "-c", script)
    cluster.kubectl("wait", "pod/stays", "--for=condition=Ready", f"--timeout={PATIENCE_SECONDS:.0f}s")
    return identify(int(cluster.kubectl("logs", "stays").stdout))


def devcluster(*arguments, **options):
    command, defaults = python("-m", "devcluster", *arguments)
    return subprocess.run(command, capture_output=True, check=False, **defaults, **options)


def test_pods_run_and_kubectl_shows_their_logs(cluster):
    arguments = ("says-hello", "--image=none", "--restart=Never", "--command", "--", "echo", "hello")
    cluster.kubectl("run", *arguments)
    wait = "jsonpath={.status.phase}=Succeeded"
    cluster.kubectl("wait", "pod/says-hello", f"--for={wait}", f"--timeout={PATIENCE_SECONDS:.0f}s")
    assert cluster.kubectl("logs", "says-hello").stdout == "hello\n"


def test_the_api_server_has_the_pinned_version(cluster):
    version = json.loads(cluster.kubectl("version", "--output=json").stdout)["serverVersion"]
    assert version["gitVersion"].startswith("v1.36.")


def test_a_failing_kubectl_tells_what_it_said(cluster):
    with pytest.raises(KubectlError, match='pods "absent" not found'):
        cluster.kubectl("get", "pod", "absent")


def test_a_service_account_can_do_no_more_than_its_roles_allow(cluster):
    access = cluster.kubeconfig_for("default", "default")
    command = [str(cluster.programs["kubectl"]), f"--kubeconfig={access}", "get", "secrets"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 'User "system:serviceaccount:default:default" cannot list resource "secrets"' in refused.stderr


def test_nobody_reads_the_store_of_the_control_plane_without_its_certificate(cluster):
    port = int(cluster.server.rpartition(":")[2]) + 1
    context = ssl.create_default_context(cafile=str(cluster.data_dir / "pki" / "etcd-ca.crt"))
    context.load_cert_chain(cluster.data_dir / "pki" / "admin.crt", cluster.data_dir / "pki" / "admin.key")
    with pytest.raises((ssl.SSLError, urllib.error.URLError, ConnectionError)):
        urllib.request.urlopen(f"https://127.0.0.1:{port}/version", context=context, timeout=10)


def test_a_component_that_dies_is_started_again(cluster):
    before = cluster.components()["kube-scheduler"]
    os.kill(before, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while cluster.components()["kube-scheduler"] in {before, None}:
        assert time.monotonic() < deadline


def test_two_clusters_run_side_by_side(cluster, tmp_path):
    started = time.monotonic()
    with Cluster.start(tmp_path / "second", nodes=0) as second:
        print(f"started in {time.monotonic() - started:.1f} s")
        second.kubectl("create", "namespace", "only-here")
        assert second.server != cluster.server
        assert second.s3.endpoint != cluster.s3.endpoint
        assert cluster.kubectl("get", "namespace", "only-here", check=False).returncode == 1
    assert processes_of(tmp_path / "second") == []


def test_a_second_cluster_in_the_same_folder_is_refused(cluster):
    with pytest.raises(ClusterError, match="a cluster already runs in"):
        Cluster.start(cluster.data_dir, nodes=0)
    assert cluster.kubectl("get", "node", "local-0").returncode == 0


def test_a_stopped_cluster_goes_on_with_its_data(tmp_path):
    with Cluster.start(tmp_path / "kept", nodes=0) as first:
        first.kubectl("create", "namespace", "stays")
    with Cluster.start(tmp_path / "kept", nodes=0) as again:
        assert again.kubectl("get", "namespace", "stays").returncode == 0
        assert again.s3 == first.s3


def test_nothing_is_left_when_the_owner_is_killed(tmp_path):
    with an_owner(tmp_path, nodes=1) as owner:
        assert says(owner, "ready")
        everything = [*running(tmp_path), a_pod_that_stays(Cluster.attach(tmp_path))]
        owner.kill()
    assert all_end(everything)
    assert processes_of(tmp_path) == []


def test_nothing_is_left_when_the_owner_is_killed_while_it_starts(tmp_path):
    with an_owner(tmp_path, nodes=1) as owner:
        assert says(owner, "starting the API server")
        everything = running(tmp_path)
        owner.kill()
    assert all_end(everything)
    assert processes_of(tmp_path) == []


def test_nothing_is_left_when_the_supervisor_is_killed(tmp_path):
    with an_owner(tmp_path, nodes=1) as owner:
        assert says(owner, "ready")
        cluster = Cluster.attach(tmp_path)
        everything = [*running(tmp_path), a_pod_that_stays(cluster)]
        os.kill(cluster.supervisor.pid, signal.SIGKILL)
        assert all_end(everything)
        cluster.stop()
    assert not any(path.exists() for path in leftovers(ports_of(Roster.read(tmp_path / "cluster.json").block)))


def test_ctrl_c_leaves_nothing(tmp_path):
    command, options = python("-m", "devcluster", "up", "--data-dir", str(tmp_path), stderr=subprocess.PIPE)
    with subprocess.Popen(command, **options) as process:
        assert any("starting the API server" in line for line in process.stderr)
        everything = running(tmp_path)
        process.send_signal(signal.SIGINT)
    assert process.returncode != 0
    assert all_end(everything)
    assert processes_of(tmp_path) == []


def test_the_command_line_starts_shows_and_ends_a_cluster(tmp_path):
    folder = tmp_path / "by-command"
    options = ("--data-dir", str(folder))
    assert devcluster("status", *options).returncode == 3
    try:
        made = devcluster("up", "--nodes", "0", "--name", "mine", *options)
        assert made.returncode == 0, made.stderr
        # Whoever started it has ended by now, and it goes on.
        shown = json.loads(devcluster("status", "--json", *options).stdout)
        assert (shown["name"], shown["running"]) == ("mine", True)
        assert devcluster("kubeconfig", *options).stdout.strip() == str(folder / "kubeconfig")
        assert "a cluster already runs in" in devcluster("up", *options).stderr
    finally:
        ended = devcluster("down", *options)
    assert ended.returncode == 0
    assert processes_of(folder) == []
    assert not folder.exists()
