"""What an installation grants: the least, and the same in the chart."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from nasoa_operator.install import manifests
from nasoa_operator.install.chart import files

ROOT = Path(__file__).parents[2]
INSTALLED = manifests("nasoa-system", ["team-a", "team-b"], "registry.example/runtime:1")


def of_kind(kind):
    return [m for m in INSTALLED if m["kind"] == kind]


def rules():
    return [rule for kind in ("Role", "ClusterRole") for role in of_kind(kind) for rule in role["rules"]]


@pytest.mark.parametrize("name", sorted(files()))
def test_the_chart_has_what_the_functions_say(name):
    assert (ROOT / "helm" / "nasoa" / "templates" / name).read_text() == files()[name], "run `make crds`"


def test_no_right_has_a_wildcard():
    for rule in rules():
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]


def test_nobody_gets_secrets_or_the_right_to_create_pods():
    for rule in rules():
        assert "secrets" not in rule["resources"]
        assert "pods" not in rule["resources"] or set(rule["verbs"]) == {"get", "list", "watch"}


def test_jobs_may_be_created_only_where_a_namespace_is_enrolled():
    (role,) = [
        r["metadata"]["name"] for r in of_kind("ClusterRole") if any("jobs" in x["resources"] for x in r["rules"])
    ]
    assert [b["roleRef"]["name"] for b in of_kind("ClusterRoleBinding")] == ["nasoa"]
    assert role == "nasoa-jobs"
    bound = [b["metadata"]["namespace"] for b in of_kind("RoleBinding") if b["roleRef"]["name"] == role]
    assert bound == ["team-a", "team-b"]


def test_every_namespace_of_pods_has_a_network_policy():
    assert [p["metadata"]["namespace"] for p in of_kind("NetworkPolicy")] == ["nasoa-system", "team-a", "team-b"]


def test_manifests_are_plain_yaml():
    assert list(yaml.safe_load_all(yaml.safe_dump_all(INSTALLED))) == INSTALLED
