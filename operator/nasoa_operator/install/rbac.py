"""The operator's account and rights: no wildcard, no Secrets, and Jobs only where a namespace is enrolled."""

from __future__ import annotations

from typing import Any

from nasoa_runtime.api.base import GROUP
from nasoa_runtime.api.kinds import KINDS

NAME = "nasoa"
JOBS_ROLE = "nasoa-jobs"
RBAC = "rbac.authorization.k8s.io"
READ = ["get", "list", "watch"]
PLURALS = [kind.plural for kind in KINDS]
LABELS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": NAME}

Manifest = dict[str, Any]


def account(namespace: str, annotations: Any = None) -> Manifest:
    """The service account of the operator; clouds bind an identity for S3 to one by ``annotations``."""
    metadata = {"name": NAME, "namespace": namespace, "labels": LABELS}
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata | ({"annotations": annotations} if annotations else {}),
    }


def operator_rights(namespace: str) -> list[Manifest]:
    """What the operator may do in the whole cluster, and in its own namespace."""
    cluster_rules = [
        _allow("apiextensions.k8s.io", ["customresourcedefinitions"], READ),
        _allow("", ["namespaces"], READ),
        _allow(GROUP, PLURALS, READ),
        _allow(GROUP, [f"{plural}/status" for plural in PLURALS], ["get", "patch", "update"]),
        _allow("", ["events"], ["create", "patch"]),
    ]
    # The watches are opened for each kind in each namespace, so each kind is readable in all of them.
    own_rules = [
        _allow("coordination.k8s.io", ["leases"], [*READ, "create", "delete", "patch", "update"]),
        _allow("batch", ["jobs"], READ),
    ]
    return [
        _role("ClusterRole", NAME, cluster_rules),
        _binding("ClusterRoleBinding", NAME, "ClusterRole", NAME, namespace),
        _role("Role", NAME, own_rules, namespace=namespace),
        _binding("RoleBinding", NAME, "Role", NAME, namespace, into=namespace),
        _role("ClusterRole", JOBS_ROLE, _job_rules()),
    ]


def enrolment(namespace: str, tenant_namespace: str) -> Manifest:
    """What lets the operator of ``namespace`` run Jobs in ``tenant_namespace``."""
    return _binding("RoleBinding", JOBS_ROLE, "ClusterRole", JOBS_ROLE, namespace, into=tenant_namespace)


def tenant_roles() -> list[Manifest]:
    """Rights on both kinds, added to the roles `view`, `edit` and `admin` that tenants have anyway."""
    write = [*READ, "create", "delete", "deletecollection", "patch", "update"]
    edit = {f"{RBAC}/aggregate-to-edit": "true", f"{RBAC}/aggregate-to-admin": "true"}
    view = {f"{RBAC}/aggregate-to-view": "true"}
    return [
        _role("ClusterRole", "nasoa-edit", [_allow(GROUP, PLURALS, write)], labels=edit),
        _role("ClusterRole", "nasoa-view", [_allow(GROUP, PLURALS, READ)], labels=view),
    ]


def _job_rules() -> list[Manifest]:
    return [
        _allow("batch", ["jobs"], [*READ, "create", "delete", "patch"]),
        _allow("", ["pods"], READ),
        _allow("coordination.k8s.io", ["leases"], READ),
        _allow("kueue.x-k8s.io", ["workloads"], [*READ, "patch"]),
    ]


def _allow(group: str, resources: list[str], verbs: list[str]) -> Manifest:
    return {"apiGroups": [group], "resources": resources, "verbs": sorted(verbs)}


def _role(
    kind: str, name: str, allowed: list[Manifest], *, namespace: str | None = None, labels: dict[str, str] | None = None
) -> Manifest:
    metadata: Manifest = {"name": name} | ({"namespace": namespace} if namespace else {})
    metadata["labels"] = LABELS | (labels or {})
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": metadata, "rules": allowed}


def _binding(
    kind: str, name: str, role_kind: str, role: str, account_namespace: str, *, into: str | None = None
) -> Manifest:
    metadata: Manifest = {"name": name} | ({"namespace": into} if into else {})
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": kind,
        "metadata": metadata | {"labels": LABELS},
        "roleRef": {"apiGroup": RBAC, "kind": role_kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": account_namespace}],
    }
