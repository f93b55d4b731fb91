"""ValidatingAdmissionPolicies that keep the operator from being a deputy for what its users may not do themselves."""

from __future__ import annotations

from typing import Any

from nasoa_operator.install.rbac import LABELS, NAME
from nasoa_runtime.api.base import GROUP, VERSION
from nasoa_runtime.api.kinds import KINDS

ADMISSION = "admissionregistration.k8s.io"
JOB_POLICY = "nasoa-operator-jobs"
TENANT_POLICY = "nasoa-tenant-references"

Manifest = dict[str, Any]

_KIND_NAMES = ", ".join(f"'{kind.kind}'" for kind in KINDS)
# A claim can be read by who may start pods that mount it; a Secret, by who may start pods that name it; and so on.
# Parts with a default are always there: the API server fills them in before it asks a policy.
_REFERENCES = {
    "spec.storage.secretName": "has(object.spec.storage.secretName)",
    "spec.podTemplate.serviceAccountName": "has(object.spec.podTemplate.serviceAccountName)",
    "spec.podTemplate.nodeSelector": "size(object.spec.podTemplate.nodeSelector) > 0",
    "spec.podTemplate.tolerations": "size(object.spec.podTemplate.tolerations) > 0",
    "spec.podTemplate.priorityClassName": "has(object.spec.podTemplate.priorityClassName)",
    "a pvc:// dataset": "object.spec.dataset.uri.startsWith('pvc://')",
}


def job_policy(namespace: str, image: str) -> list[Manifest]:
    """The operator's Jobs run only ``image``, belong to an object of ours, and carry no token.

    A Job that is there keeps its image (the API server allows no other), so that one from before an upgrade can still
    be suspended.
    """
    pod = "object.spec.template.spec"
    same = "oldObject != null && oldObject.spec.template.spec.containers.exists(o, o.image == c.image)"
    validations = [
        {
            "expression": f"{pod}.containers.all(c, c.image == '{image}' || ({same}))"
            f" && (!has({pod}.initContainers) || size({pod}.initContainers) == 0)",
            "message": f"Jobs of the nasoa operator may run only the image {image}: set the operator's NASOA_POD_IMAGE"
            " to it, or install the policy with the other image",
        },
        {
            "expression": "has(object.metadata.ownerReferences) && size(object.metadata.ownerReferences) == 1"
            f" && object.metadata.ownerReferences.all(o, o.apiVersion == '{GROUP}/{VERSION}'"
            f" && o.kind in [{_KIND_NAMES}] && has(o.controller) && o.controller)",
            "message": "Jobs of the nasoa operator must be controlled by one NASSearch or FineTuneRequest",
        },
        {
            "expression": f"has({pod}.automountServiceAccountToken) && !{pod}.automountServiceAccountToken",
            "message": "pods of the nasoa operator must not mount a service account's token",
        },
    ]
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": _constraints("batch", "v1", ["jobs"], ["CREATE", "UPDATE"]),
        "matchConditions": [
            {
                "name": "by-the-operator",
                "expression": f"request.userInfo.username == 'system:serviceaccount:{namespace}:{NAME}'",
            }
        ],
        "validations": validations,
    }
    return _policy(JOB_POLICY, spec)


def tenant_policy() -> list[Manifest]:
    """Who creates an object names what a pod could reach only if they may create pods themselves.

    Creation is enough: the fields are immutable from then on.
    """
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": _constraints(GROUP, VERSION, [kind.plural for kind in KINDS], ["CREATE"]),
        "variables": [
            {
                "name": "mayCreatePods",
                "expression": "authorizer.group('').resource('pods').namespace(request.namespace)"
                ".check('create').allowed()",
            },
        ],
        "validations": [
            {
                "expression": f"!({condition}) || variables.mayCreatePods",
                "reason": "Forbidden",
                "message": f"{field} is only for who may create pods in this namespace: leave it out, or have an"
                " administrator grant you `create pods` here",
            }
            for field, condition in _REFERENCES.items()
        ],
    }
    return _policy(TENANT_POLICY, spec)


def _constraints(group: str, version: str, resources: list[str], operations: list[str]) -> Manifest:
    return {
        "resourceRules": [
            {"apiGroups": [group], "apiVersions": [version], "resources": resources, "operations": operations}
        ]
    }


def _policy(name: str, spec: Manifest) -> list[Manifest]:
    """A policy and the binding that puts it in force everywhere."""
    metadata = {"name": name, "labels": LABELS}
    return [
        {
            "apiVersion": f"{ADMISSION}/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": metadata,
            "spec": spec,
        },
        {
            "apiVersion": f"{ADMISSION}/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": metadata,
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        },
    ]
