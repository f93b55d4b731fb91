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
from devcluster.processes import ProcessId
from devcluster.roster import Roster, RosterError
from devcluster.s3 import Keys, Rights
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
    with pytest.raises(ValueError, match="not a node name"):
        local_node(Layout(tmp_path), ports_of(0), name)


def test_a_folder_is_removed_without_what_somebody_else_put_there(tmp_path):
    layout = Layout(tmp_path / "cluster")
    layout.make()
    (layout.root / "notes.txt").write_text("mine")
    layout.remove()
    assert [path.name for path in layout.root.iterdir()] == ["notes.txt"]


def test_keys_are_kept_and_differ(tmp_path):
    identities = {name: Rights() for name in ("writer", "reader", "guest")}
    s3.make_identities(tmp_path, identities)
    made = s3.read_keys(tmp_path)
    s3.make_identities(tmp_path, identities)
    assert s3.read_keys(tmp_path) == made
    assert list(made) == ["admin", "writer", "reader", "guest"]
    assert len({one.secret_key for one in made.values()}) == 4
    assert (tmp_path / "identities.json").stat().st_mode & 0o777 == 0o600


def test_an_identity_that_is_no_longer_asked_for_loses_its_keys(tmp_path):
    s3.make_identities(tmp_path, {"writer": Rights(), "guest": Rights()})
    writer = s3.read_keys(tmp_path)["writer"]
    s3.make_identities(tmp_path, {"writer": Rights(), "reader": Rights()})
    assert list(s3.read_keys(tmp_path)) == ["admin", "writer", "reader"]
    assert s3.read_keys(tmp_path)["writer"] == writer


@pytest.mark.parametrize(
    ("rights", "actions"),
    [
        pytest.param(Rights(reads=("b/c/",)), ["Read:b/c/*", "List:b/c/*"], id="below a prefix"),
        pytest.param(Rights(("b",), ("b",)), ["Read:b", "List:b", "Write:b", "Tagging:b"], id="a whole bucket"),
        pytest.param(Rights(writes=("b/c/",)), ["Write:b/c/*", "Tagging:b/c/*"], id="writing alone"),
        pytest.param(Rights(), [], id="nothing"),
    ],
)
def test_rights_become_actions_of_the_store(rights, actions):
    document = s3.configuration({"admin": Keys("a", "b"), "one": Keys("c", "d")}, {"one": rights})
    assert [found["actions"] for found in document["identities"]] == [["Admin"], actions]


@pytest.mark.parametrize(
    ("buckets", "identities", "message"),
    [
        pytest.param(["My_Bucket"], {}, "'My_Bucket' is not a bucket name", id="a bucket"),
        pytest.param([], {"admin": Rights()}, "'admin' can't be an identity", id="the administrator"),
        pytest.param([], {"a/b": Rights()}, "'a/b' can't be an identity", id="a name"),
        pytest.param(
            ["one"],
            {"a": Rights(reads=("two/x/",))},
            "a has rights in two/x/, and there is no bucket 'two'",
            id="absent",
        ),
        pytest.param(
            ["one"], {"a": Rights(writes=("one/x",))}, "a has rights in one/x: end a prefix with a slash", id="a prefix"
        ),
    ],
)
def test_buckets_and_rights_that_the_store_would_misunderstand_are_refused(buckets, identities, message):
    with pytest.raises(ValueError, match=message):
        s3.check(buckets, identities)


def test_a_roster_is_read_as_it_was_written(tmp_path):
    roster = Roster("mine", 7, ("one", "two"), ProcessId(1, 2, "boot"), {"etcd": ProcessId(3, 4, "boot")})
    roster.write(tmp_path / "roster")
    assert Roster.read(tmp_path / "roster") == roster


def test_no_roster_is_no_error(tmp_path):
    assert Roster.read(tmp_path / "roster") is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 3}'], ids=["empty", "list", "no-format", "newer"])
def test_a_roster_that_is_not_understood_is_an_error_that_names_the_file(tmp_path, text):
    path = tmp_path / "roster"
    path.write_text(text)
    with pytest.raises(RosterError, match=str(path)):
        Roster.read(path)
    assert path.read_text() == text


def test_a_request_survives_its_encoding():
    request = Request(
        root="/root",
        name="mine",
        programs={"etcd": "/etcd"},
        weed="/weed",
        nodes=["local-0"],
        owner=ProcessId(1, 2, "boot"),
        images={"a": ["b"]},
        buckets=["c"],
        identities={"d": Rights(("c/e/",), ("c",))},
    )
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
