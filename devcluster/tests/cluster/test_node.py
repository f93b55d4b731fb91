"""The local node as users of the API see it: pods run, end, are restarted, stopped and logged."""

import http.client
import json
import ssl
import subprocess
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from devcluster.tests.pods import PATIENCE_SECONDS, conditions_of, container, field, state_of, waiting_of


def test_the_node_is_ready_and_shows_the_machine(cluster):
    node = json.loads(cluster.kubectl("get", "node", "local-0", "-o", "json").stdout)
    assert conditions_of(node)["Ready"] == "True"
    assert int(node["status"]["allocatable"]["cpu"]) == len(psutil.Process().cpu_affinity())
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == node["metadata"]["name"]
    where = ("--namespace=kube-node-lease", "lease/local-0")
    cluster.kubectl("wait", "--for=create", *where, f"--timeout={PATIENCE_SECONDS:.0f}s")
    lease = json.loads(cluster.kubectl("get", *where, "-o", "json").stdout)
    assert lease["spec"]["holderIdentity"] == node["metadata"]["name"]


@pytest.mark.parametrize(
    ("script", "phase", "code", "reason"),
    [
        pytest.param("true", "Succeeded", 0, "Completed", id="success"),
        pytest.param("exit 75", "Failed", 75, "Error", id="an exit code"),
        pytest.param("kill -9 $$$$", "Failed", 137, "Error", id="a signal"),
    ],
)
def test_the_exit_code_decides_the_phase(space, script, phase, code, reason):
    found = space.ended(space.run(container(script)))
    ended = state_of(found)["terminated"]
    assert (found["status"]["phase"], ended["exitCode"], ended["reason"]) == (phase, code, reason)
    assert ended["startedAt"] <= ended["finishedAt"]
    assert conditions_of(found)["Ready"] == "False"
    assert conditions_of(found)["Initialized"] == "True"


def test_a_container_without_a_command_runs_what_stands_for_its_image(space):
    name = space.run({"name": "main", "image": "example/greeter:1", "args": ["world"]})
    assert space.ended(name)["status"]["phase"] == "Succeeded"
    assert space.logs(name) == ["hello world"]


def test_a_program_that_does_not_exist_is_a_start_error(space):
    found = space.ended(space.run({"name": "main", "image": "none", "command": ["no-such-program"]}))
    ended = state_of(found)["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert 'exec "no-such-program"' in ended["message"]


def test_a_volume_over_the_nodes_own_folder_does_not_hide_the_termination_message(space):
    top = f"/{space.cluster.data_dir.parts[1]}"
    main = container("printf found > $TERMINATION_MESSAGE_PATH")
    main["volumeMounts"] = [{"name": "cover", "mountPath": top}]
    found = space.ended(space.run(main, volumes=[{"name": "cover", "emptyDir": {}}]))
    assert state_of(found)["terminated"]["message"] == "found"


def test_the_end_of_the_termination_message_is_reported(space):
    script = 'head -c 5000 /dev/zero | tr "\\0" x > /dev/termination-log; printf end >> $TERMINATION_MESSAGE_PATH'
    found = space.ended(space.run(container(script)))
    assert state_of(found)["terminated"]["message"] == "x" * 4093 + "end"
    assert not Path("/dev/termination-log").exists()


def test_the_log_stands_in_for_a_message_where_the_policy_says_so(space):
    found = space.ended(space.run(container("echo why; exit 1", terminationMessagePolicy="FallbackToLogsOnError")))
    assert state_of(found)["terminated"]["message"] == "why\n"


def test_a_failed_init_container_fails_the_pod(space):
    found = space.ended(space.run(container(), initContainers=[container("exit 4", "setup")]))
    assert found["status"]["phase"] == "Failed"
    assert state_of(found, "setup", "initContainerStatuses")["terminated"]["exitCode"] == 4
    assert state_of(found)["waiting"]["reason"] == "PodInitializing"
    assert conditions_of(found)["Initialized"] == "False"


def test_a_deleted_pod_may_end_in_its_own_way(space):
    name = space.run(container("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"))
    space.until_phase(name, "Running")
    kubectl = (space.cluster.programs["kubectl"], f"--kubeconfig={space.cluster.kubeconfig}")
    with subprocess.Popen(
        [*kubectl, "-n", space.name, "logs", "-f", name], stdout=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "up\n"
        space.kubectl("delete", "pod", name, "--wait=true", f"--timeout={PATIENCE_SECONDS:.0f}s")
        assert following.stdout.read() == "bye\n"


def test_a_pod_that_ignores_sigterm_is_killed_after_its_grace_period(space):
    name = space.run(container("trap '' TERM; echo $$$$; while :; do sleep 300; done"), terminationGracePeriodSeconds=1)
    space.until_phase(name, "Running")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (lines := space.logs(name)):
        assert time.monotonic() < deadline
    begun = time.monotonic()
    space.kubectl("delete", "pod", name, f"--timeout={PATIENCE_SECONDS:.0f}s")
    assert time.monotonic() - begun >= 1
    assert not psutil.pid_exists(int(lines[0]))


def test_a_deadline_fails_the_pod(space):
    found = space.ended(space.run(container("sleep 300"), activeDeadlineSeconds=4))
    assert (found["status"]["phase"], found["status"]["reason"]) == ("Failed", "DeadlineExceeded")
    assert state_of(found)["terminated"]["exitCode"] == 143


def test_a_failing_container_is_restarted_with_back_off(space):
    mount = [{"name": "work", "mountPath": "/work-x"}]
    script = "echo run >> /work-x/runs; grep -c . /work-x/runs; test $(grep -c . /work-x/runs) -ge 2"
    name = space.run(
        container(script, volumeMounts=mount),
        volumes=[{"name": "work", "emptyDir": {}}],
        restartPolicy="OnFailure",
    )
    found = space.ended(name)
    (status,) = found["status"]["containerStatuses"]
    assert (found["status"]["phase"], status["restartCount"]) == ("Succeeded", 1)
    assert status["lastState"]["terminated"]["exitCode"] == 1
    assert (space.logs(name, "--previous"), space.logs(name)) == (["1"], ["2"])


def test_a_crashing_container_backs_off(space):
    name = space.run(container("exit 3"), restartPolicy="Always")
    found = space.until("pod", name, lambda it: waiting_of(it).get("reason") == "CrashLoopBackOff")
    assert found["status"]["phase"] == "Running"
    assert found["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 3
    space.kubectl("delete", "pod", name, f"--timeout={PATIENCE_SECONDS:.0f}s")


def test_parts_of_a_log_can_be_read(space):
    name = space.run(container("seq 1 5; echo error >&2"))
    space.ended(name)
    assert space.logs(name) == ["1", "2", "3", "4", "5", "error"]
    assert space.logs(name, "--tail=2") == ["5", "error"]
    assert space.logs(name, "--limit-bytes=4") == ["1", "2"]
    (stamped,) = space.logs(name, "--tail=1", "--timestamps")
    assert stamped.endswith("Z error")


def test_a_ready_program_is_one_that_answers_its_probe(space):
    program = (
        "import os; from http.server import HTTPServer, SimpleHTTPRequestHandler as Handler;"
        "HTTPServer((os.environ['IP'], 8080), Handler).serve_forever()"
    )
    one = container() | {
        "command": ["python", "-c", program],
        "env": [field("IP", "status.podIP")],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    }
    name = space.run(one, terminationGracePeriodSeconds=1)
    other = space.run(one, terminationGracePeriodSeconds=1)
    for each in (name, other):
        space.until("pod", each, lambda it: conditions_of(it).get("Ready") == "True")
    assert space.get("pod", name)["status"]["podIP"] != space.get("pod", other)["status"]["podIP"]


def answer(cluster, path, user):
    """What the node itself answers to a component of the control plane; None without a certificate."""
    node = json.loads(cluster.kubectl("get", "node", "local-0", "-o", "json").stdout)
    keys = cluster.data_dir / "pki"
    context = ssl.create_default_context(cafile=str(keys / "ca.crt"))
    if user:
        context.load_cert_chain(str(keys / f"{user}.crt"), str(keys / f"{user}.key"))
    port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    with closing(http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()


def test_the_node_serves_the_api_server_and_those_it_lets_in(cluster, space):
    name = space.run(container("echo mine"))
    space.ended(name)
    path = f"/containerLogs/{space.name}/{name}/main"
    assert answer(cluster, path, "kubelet-client") == (200, "mine\n")
    assert answer(cluster, "/healthz", "kubelet-client") == (200, "ok")
    assert answer(cluster, f"/containerLogs/{space.name}/{name}/other", "kubelet-client")[0] == 404
    assert answer(cluster, path, "scheduler") == (
        403,
        "Forbidden (user=system:kube-scheduler, verb=get, resource=nodes, subresource=proxy)",
    )
    with pytest.raises((ssl.SSLError, ConnectionError)):
        answer(cluster, path, None)
