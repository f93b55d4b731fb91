"""Where the programs of the control plane are found, and how they are built."""

from __future__ import annotations

import pytest

from devcluster import binaries
from devcluster.building import counted
from devcluster.tools import ETCD, KUBERNETES, major_minor


def a_program(folder, name, says):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("text", "version"),
    [
        pytest.param("Kubernetes v1.36.3", (1, 36), id="kubernetes"),
        pytest.param("etcd Version: 3.6.15\nGit SHA: 123", (3, 6), id="etcd"),
        pytest.param("go1.26.8", (1, 26), id="go"),
        pytest.param("Client Version: v1.32.0\nKustomize Version: v5.5.0", (1, 32), id="kubectl"),
    ],
)
def test_versions_are_found_in_what_programs_say(text, version):
    assert major_minor(text) == version


def test_given_programs_are_taken_whatever_their_version(tmp_path):
    given = a_program(tmp_path / "assets", "etcd", "etcd Version: 3.5.0")
    found = binaries.look(ETCD, {"KUBEBUILDER_ASSETS": str(given.parent), "PATH": ""})
    assert found == {"etcd": given}


@pytest.mark.parametrize(
    ("says", "taken"),
    [
        pytest.param("Client Version: v1.36.0", True, id="same-minor"),
        pytest.param("Client Version: v1.32.0", False, id="older"),
        pytest.param("Client Version: v1.37.0", False, id="newer"),
        pytest.param("hello", False, id="no-version"),
    ],
)
def test_installed_programs_are_taken_only_in_the_pinned_minor_version(tmp_path, says, taken):
    path = a_program(tmp_path / "bin", "kubectl", says)
    assert binaries.look(KUBERNETES, {"PATH": str(path.parent)}) == ({"kubectl": path} if taken else {})


def test_built_programs_are_found_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    folder = tmp_path / "devcluster" / "tools" / ETCD.folder_name
    folder.mkdir(parents=True)
    assert binaries.find(toolsets=(ETCD,)) == {"etcd": folder / "etcd"}


def test_progress_is_told_now_and_then():
    times = iter([0.0, 1.0, 11.0, 12.0, 30.0])
    told = list(counted(["a", "b", "c", "d"], 3, lambda: next(times)))
    assert told == ["2 of 3 packages compiled", "3 of 3 packages compiled", "done"]


@pytest.mark.parametrize("toolset", [ETCD, KUBERNETES], ids=lambda toolset: toolset.name)
def test_the_pinned_modules_have_the_version_that_is_named(toolset):
    module = (toolset.module / "go.mod").read_text()
    name = {"etcd": "go.etcd.io/etcd/server/v3", "kubernetes": "k8s.io/kubernetes"}[toolset.name]
    assert f"\n\t{name} {toolset.version} " in module or f"\nrequire {name} {toolset.version} " in module
    sums = (toolset.module / "go.sum").read_text()
    assert f"{name} {toolset.version} h1:" in sums


def test_the_api_server_is_built_with_the_version_that_it_shall_tell():
    assert "-X k8s.io/component-base/version.gitVersion=v1.36.3" in KUBERNETES.linker_flags
