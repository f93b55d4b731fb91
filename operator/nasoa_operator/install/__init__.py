"""What a cluster needs beside the CRDs: the operator's account and rights, admission policies, network policies.

One source for two ways to install: `python -m nasoa_operator.install | kubectl apply -f -`, and the chart's templates,
which :mod:`nasoa_operator.install.chart` writes. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nasoa_operator.install.network import operator_network, pod_network
from nasoa_operator.install.policies import job_policy, tenant_policy
from nasoa_operator.install.rbac import account, enrolment, operator_rights, tenant_roles

Manifest = dict[str, Any]


def manifests(
    namespace: str, tenant_namespaces: Sequence[str], image: str, *, health_port: int = 8080
) -> list[Manifest]:
    """Everything but CRDs and Deployment: the operator in ``namespace``, its Jobs in ``tenant_namespaces``.

    ``image`` is the only one that the operator's Jobs may run.
    """
    return [
        account(namespace),
        *operator_rights(namespace),
        *tenant_roles(),
        *(enrolment(namespace, tenant) for tenant in tenant_namespaces),
        *job_policy(namespace, image),
        *tenant_policy(),
        operator_network(namespace, health_port),
        *(pod_network(namespace, tenant) for tenant in tenant_namespaces),
    ]
