"""The parts of the local cluster that need no cluster."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from devcluster import control, controlplane, s3
from devcluster.certificates import Authority
from devcluster.kubeconfig import ApiServer, with_token, write
from devcluster.layout import Layout
from devcluster.nodes import local_node
from devcluster.ports import ports_of
from devcluster.probing import node_ready
from devcluster.processes import Identity
from devcluster.state import State, StateError
from devcluster.supervisor import Request, variables_without

PROGRAMS = {name: Path("/programs") / name for name in ("etcd", "kube-apiserver", "kube-controller-manager")}


def flags(component):
    return dict(argument.removeprefix("--").split("=", 1) for argument in component.arguments[1:])


def test_a_client_certificate_says_user_and_groups():
    pair = Authority.create("test").client("system:node:a", "system:nodes")
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    assert certificate.subject.rfc4514_string() == "CN=system:node:a,O=system:nodes"


def test_a_server_certificate_passes_the_strict_checks_of_newer_pythons(tmp_path):
    authority = Authority.create("test")
    authority.server("server", ["127.0.0.1", "localhost"]).write(tmp_path, "server")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    client = ssl.create_default_context(cadata=authority.pair.certificate.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1"),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    done = set()
    for _ in range(5):
        for one in ends:
            try:
                one.do_handshake()
                done.add(one)
            except ssl.SSLWantReadError:
                pass
    assert done == set(ends)


def test_private_keys_are_read_by_their_owner_only(tmp_path):
    Authority.create("test").pair.write(tmp_path, "ca")
    assert (tmp_path / "ca.key").stat().st_mode & 0o777 == 0o600


def test_a_kubeconfig_holds_all_that_is_needed(tmp_path):
    write(tmp_path / "made", with_token(ApiServer("https://127.0.0.1:1", b"CA"), "me", "secret", "mine"))
    document = yaml.safe_load((tmp_path / "made").read_text())
    assert document["users"] == [{"name": "me", "user": {"token": "secret"}}]
    assert document["clusters"][0]["cluster"] == {
        "server": "https://127.0.0.1:1",
        "certificate-authority-data": "Q0E=",
    }
    assert document["contexts"][0]["context"]["namespace"] == "mine"
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o600


def test_the_control_plane_checks_who_may_do_what(tmp_path):
    made = flags(controlplane.kube_apiserver(Layout(tmp_path), ports_of(0), PROGRAMS))
    assert made["authorization-mode"] == "Node,RBAC"
    assert made["bind-address"] == "127.0.0.1"
    assert made["endpoint-reconciler-type"] == "none"
    assert made["kubelet-preferred-address-types"] == "InternalIP"


def test_the_controllers_are_not_slowed_down(tmp_path):
    made = flags(controlplane.kube_controller_manager(Layout(tmp_path), ports_of(0), PROGRAMS))
    assert (made["kube-api-qps"], made["kube-api-burst"], made["concurrent-job-syncs"]) == ("500", "1000", "20")


def test_credentials_stay_when_a_cluster_starts_again_on_other_ports(tmp_path):
    layout = Layout(tmp_path)
    layout.make()
    controlplane.make_credentials(layout, ports_of(0))
    before = (layout.pki / "ca.crt").read_bytes()
    controlplane.make_credentials(layout, ports_of(1))
    assert (layout.pki / "ca.crt").read_bytes() == before
    access = yaml.safe_load(layout.kubeconfig.read_text())
    assert access["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:12032"


@pytest.mark.parametrize("name", ["", "-a", "A", "a_b", "../a", "a" * 53])
def test_what_is_no_node_name_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="no node name"):
        local_node(Layout(tmp_path), ports_of(0), name)


def test_a_folder_is_removed_without_what_somebody_else_put_there(tmp_path):
    layout = Layout(tmp_path / "cluster")
    layout.make()
    (layout.root / "notes.txt").write_text("mine")
    layout.remove()
    assert [path.name for path in layout.root.iterdir()] == ["notes.txt"]


def test_identities_are_kept_and_differ(tmp_path):
    made = s3.make_identities(tmp_path)
    assert s3.make_identities(tmp_path) == made
    assert len({one.secret_key for one in made.values()}) == 4
    assert (tmp_path / "identities.json").stat().st_mode & 0o777 == 0o600


def test_the_reader_reads_the_zoo_alone(tmp_path):
    document = s3.configuration({"reader": s3.Identity("key", "secret")})
    assert document["identities"][0]["actions"] == ["Read:nasoa-system/zoo/*", "List:nasoa-system/zoo/*"]


def test_state_is_read_as_it_was_written(tmp_path):
    state = State("mine", 7, Identity(1, 2, "boot"), {"etcd": Identity(3, 4, "boot")})
    state.write(tmp_path / "state")
    assert State.read(tmp_path / "state") == state


def test_no_state_is_no_error(tmp_path):
    assert State.read(tmp_path / "state") is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}'], ids=["empty", "list", "no-format", "newer"])
def test_a_state_that_is_not_understood_is_an_error_that_names_the_file(tmp_path, text):
    path = tmp_path / "state"
    path.write_text(text)
    with pytest.raises(StateError, match=str(path)):
        State.read(path)
    assert path.read_text() == text


def test_a_request_survives_its_encoding():
    request = Request("/root", "mine", {"etcd": "/etcd"}, "/weed", ["local-0"], Identity(1, 2, "boot"), {"a": ["b"]})
    assert Request.decode(request.encode()) == request


def test_a_command_to_nobody_says_where_nobody_is(tmp_path):
    with pytest.raises(control.ControlError, match=str(tmp_path)):
        control.send(tmp_path, "status")


def test_the_control_socket_lies_in_folders_of_any_depth(tmp_path):
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)
    listening = control.listening_socket(folder)
    listening.close()
    assert (folder / "control").is_socket()


def test_keys_in_the_environment_do_not_reach_the_components():
    found = variables_without({"AWS_SECRET_ACCESS_KEY": "x", "ETCD_NAME": "y", "PATH": "z"}, ("AWS_", "ETCD_"))
    assert found == {"PATH": "z"}


@pytest.mark.parametrize(
    ("node", "ready"),
    [
        pytest.param(None, False, id="absent"),
        pytest.param({"status": {}}, False, id="silent"),
        pytest.param({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}, False, id="not-ready"),
        pytest.param({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, True, id="ready"),
    ],
)
def test_a_node_is_ready_when_it_says_so(node, ready):
    assert node_ready(node) is ready
