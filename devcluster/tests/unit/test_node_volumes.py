import base64
import stat

import pytest

from devcluster.node.environment import Placement
from devcluster.node.errors import ContainerConfigError, VolumeNotReadyError
from devcluster.node.mount_plan import needs_namespace, volume_mounts
from devcluster.node.private_root import Mount
from devcluster.node.volume_files import (
    VolumeFile,
    downward_files,
    object_content,
    object_files,
    object_text,
    write_files,
)
from devcluster.node.volumes import Volume, host_path


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def test_objects_are_read_as_bytes_and_as_text():
    assert object_content("Secret", {"data": {"k": encoded("v")}}) == {"k": b"v"}
    config_map = {"data": {"k": "v"}, "binaryData": {"b": encoded("w")}}
    assert object_content("ConfigMap", config_map) == {"k": b"v", "b": b"w"}
    assert object_text("ConfigMap", config_map) == {"k": "v"}


@pytest.mark.parametrize(
    ("content", "source", "files"),
    [
        pytest.param({"a": b"1", "b": b"2"}, {}, [VolumeFile("a", b"1"), VolumeFile("b", b"2")], id="all keys"),
        pytest.param(
            {"a": b"1", "b": b"2"},
            {"items": [{"key": "b", "path": "x/y", "mode": 0o600}]},
            [VolumeFile("x/y", b"2", 0o600)],
            id="chosen keys",
        ),
        pytest.param(None, {"optional": True}, [], id="an optional object that is missing"),
        pytest.param({}, {"items": [{"key": "b", "path": "p"}], "optional": True}, [], id="an optional key"),
    ],
)
def test_the_files_of_an_object_are_its_keys(content, source, files):
    assert object_files("configmap c", content, source, 0o644) == files


@pytest.mark.parametrize(
    ("content", "source", "message"),
    [
        pytest.param(None, {}, "configmap c not found", id="the object"),
        pytest.param({}, {"items": [{"key": "b", "path": "p"}]}, "references non-existent key: b", id="a key"),
    ],
)
def test_what_is_missing_is_named(content, source, message):
    with pytest.raises(VolumeNotReadyError, match=message):
        object_files("configmap c", content, source, 0o644)


def test_the_downward_api_becomes_files():
    pod = {
        "metadata": {"name": "p", "namespace": "n", "uid": "u"},
        "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1500m"}}}]},
    }
    items = [
        {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
        {"path": "cpu", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}, "mode": 0o400},
    ]
    files = downward_files(pod, items, Placement("127.1.1.1", "127.0.0.1"), 0o644)
    assert files == [VolumeFile("name", b"p"), VolumeFile("cpu", b"2", 0o400)]


def test_files_are_replaced_whole(tmp_path):
    write_files(tmp_path / "v", [VolumeFile("d/f", b"old", 0o400)])
    write_files(tmp_path / "v", [VolumeFile("d/f", b"new", 0o400)])
    written = tmp_path / "v" / "d" / "f"
    assert written.read_bytes() == b"new"
    assert stat.S_IMODE(written.stat().st_mode) == 0o400
    assert list(written.parent.iterdir()) == [written]


@pytest.mark.parametrize("path", ["../f", "/f", "a/../../f"])
def test_no_file_is_written_outside_its_volume(tmp_path, path):
    with pytest.raises(VolumeNotReadyError, match="relative and without"):
        write_files(tmp_path / "v", [VolumeFile(path, b"")])


def test_host_paths_are_checked_against_their_type(tmp_path):
    assert host_path(str(tmp_path / "new"), "DirectoryOrCreate").is_dir()
    assert host_path(str(tmp_path / "file"), "FileOrCreate").is_file()
    assert host_path(str(tmp_path / "file"), "File") == tmp_path / "file"
    with pytest.raises(VolumeNotReadyError, match=r"hostPath type check failed: .* is not a directory"):
        host_path(str(tmp_path / "file"), "Directory")
    with pytest.raises(VolumeNotReadyError, match="is not a file"):
        host_path(str(tmp_path / "absent"), "File")


def test_mounts_follow_from_the_container(tmp_path):
    container = {
        "volumeMounts": [
            {"name": "data", "mountPath": "/mine/data", "readOnly": True},
            {"name": "data", "mountPath": "work", "subPathExpr": "runs/$(N)"},
            {"name": "config", "mountPath": "/etc/c"},
        ]
    }
    volumes = {"data": Volume(tmp_path), "config": Volume(tmp_path, read_only=True)}
    assert volume_mounts(container, volumes, {"N": "7"}) == [
        Mount(str(tmp_path), "/mine/data", read_only=True),
        Mount(str(tmp_path / "runs" / "7"), "/work"),
        Mount(str(tmp_path), "/etc/c", read_only=True),
    ]
    assert (tmp_path / "runs" / "7").is_dir()


@pytest.mark.parametrize(
    "inner",
    [pytest.param("../x", id="up"), pytest.param("/etc", id="absolute"), pytest.param("link/x", id="by a link")],
)
def test_a_sub_path_stays_in_its_volume(tmp_path, inner):
    volume = tmp_path / "v"
    volume.mkdir()
    (volume / "link").symlink_to(tmp_path)
    container = {"volumeMounts": [{"name": "data", "mountPath": "/d", "subPath": inner}]}
    with pytest.raises(ContainerConfigError, match="leads out of the volume"):
        volume_mounts(container, {"data": Volume(volume)}, {})


def test_the_service_account_alone_needs_no_namespace():
    token = {"name": "t", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    assert not needs_namespace({"volumeMounts": [token]})
    assert needs_namespace({"volumeMounts": [token, {"name": "d", "mountPath": "/data"}]})
