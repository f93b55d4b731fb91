"""NetworkPolicies: who may connect to the operator and to the pods it starts."""

from __future__ import annotations

from typing import Any

from nasoa_operator.install.rbac import LABELS, NAME
from nasoa_runtime.boundary import METRICS_PORT

NAMESPACE_LABEL = "kubernetes.io/metadata.name"

Manifest = dict[str, Any]


def operator_network(namespace: str, health_port: int | str) -> Manifest:
    """Only the health and metrics port of the operator can be reached; it may reach everything it needs."""
    return _policy(
        NAME,
        namespace,
        {
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": NAME, "app.kubernetes.io/component": "operator"}},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"protocol": "TCP", "port": health_port}]}],
        },
    )


def pod_network(namespace: str, tenant_namespace: str) -> Manifest:
    """Pods that the operator starts can be reached on their metrics port only, by the operator's namespace only."""
    return _policy(
        "nasoa-pods",
        tenant_namespace,
        {
            "podSelector": {"matchLabels": {"app.kubernetes.io/managed-by": NAME}},
            "policyTypes": ["Ingress"],
            "ingress": [
                {
                    "from": [{"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: namespace}}}],
                    "ports": [{"protocol": "TCP", "port": METRICS_PORT}],
                }
            ],
        },
    )


def _policy(name: str, namespace: str, spec: Manifest) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace, "labels": LABELS},
        "spec": spec,
    }
