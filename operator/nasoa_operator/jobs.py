"""Job manifests and deterministic child names. Pure: the same owner, step and input give the same manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nasoa_operator.plan import Manifest
from nasoa_operator.settings import Settings
from nasoa_runtime.api.parts import DeviceSpec, PodTemplate, StorageSpec
from nasoa_runtime.boundary import (
    EXIT_BAD_INPUT,
    EXIT_CHECKPOINTED,
    EXIT_DIVERGED,
    INPUT_VARIABLE,
    METRICS_PORT,
    PodInput,
    digest,
    dump_input,
    program_of,
)

OWNER_UID_LABEL = "nasoa.io/owner-uid"
OWNER_KIND_LABEL = "nasoa.io/owner-kind"
OWNER_NAME_LABEL = "nasoa.io/owner-name"
STEP_LABEL = "nasoa.io/step"
INPUT_DIGEST_ANNOTATION = "nasoa.io/input-digest"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
DATASET_DIRECTORY = "/nasoa/data"
WORK_DIRECTORY = "/nasoa/work"
CONTAINER = "nasoa"
HOST_NAME_LIMIT = 63
INDEX_DIGITS = 4

TENANT_SECRET_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
READER_SECRET_KEYS = ("NASOA_ZOO_ACCESS_KEY_ID", "NASOA_ZOO_SECRET_ACCESS_KEY")


@dataclass(frozen=True)
class Owner:
    """The object a Job belongs to."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str

    def reference(self) -> dict[str, Any]:
        """The controller reference by which Kubernetes deletes the Job with its owner."""
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }


def child_name(owner: Owner, step: str) -> str:
    """Name of the owner's Job for ``step``: the owner's name, 8 digits of its UID, the step.

    The name is cut to 40 characters, or to fewer where the step is long: a pod's host name is its Job's name and its
    index, and has at most 63 characters.
    """
    room = min(HOST_NAME_LIMIT - len(f"-{owner.uid[:8]}-{step}-") - INDEX_DIGITS, 40)
    return f"{owner.name[:room].rstrip('-.').replace('.', '-')}-{owner.uid[:8]}-{step}"


def results_uri(output_uri: str, uid: str) -> str:
    """Below which the pods of an owner write their results, a folder for each step."""
    return f"{output_uri.rstrip('/')}/{uid}/results"


def dataset_claim(uri: str) -> tuple[str, str] | None:
    """Claim name and path within it of a ``pvc://claim/path`` URI; ``None`` for other schemes."""
    if not uri.startswith("pvc://"):
        return None
    claim, _, path = uri.removeprefix("pvc://").partition("/")
    return claim, path.strip("/")


def dataset_uri_in_pod(uri: str) -> str:
    """The URI as the pod sees it: a claim is mounted at :data:`DATASET_DIRECTORY`."""
    return DATASET_DIRECTORY if dataset_claim(uri) is not None else uri


def build_job(
    *,
    owner: Owner,
    step: str,
    pod_input: PodInput,
    completions: int,
    device: DeviceSpec,
    storage: StorageSpec,
    template: PodTemplate,
    settings: Settings,
    dataset: str | None = None,
    active_deadline_seconds: int | None = None,
) -> Manifest:
    """An Indexed Job whose ``completions`` pods share one input document and differ by their index.

    ``dataset`` is the spec's URI: a claim becomes a read-only volume. ``active_deadline_seconds`` is a backstop, never
    what keeps a time limit: it starts anew whenever a suspended Job resumes, and kills without publishing.
    """
    document = dump_input(pod_input)
    program = program_of(pod_input).name
    labels = {
        OWNER_UID_LABEL: owner.uid,
        OWNER_KIND_LABEL: owner.kind,
        OWNER_NAME_LABEL: owner.name[:63].rstrip("-."),
        STEP_LABEL: step,
        "app.kubernetes.io/managed-by": "nasoa",
        "app.kubernetes.io/component": program,
    }
    job_labels = labels | ({QUEUE_LABEL: template.queue_name} if template.queue_name else {})
    spec: dict[str, Any] = {
        "completionMode": "Indexed",
        "completions": completions,
        "parallelism": completions,
        "backoffLimitPerIndex": settings.backoff_limit_per_index,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {"rules": failure_rules()},
        "template": {
            "metadata": {"labels": labels},
            "spec": pod_spec(
                program,
                document.decode(),
                device=device,
                storage=storage,
                template=template,
                settings=settings,
                dataset=dataset,
            ),
        },
    }
    if template.queue_name:
        spec["suspend"] = True
    if active_deadline_seconds is not None:
        spec["activeDeadlineSeconds"] = active_deadline_seconds
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": child_name(owner, step),
            "namespace": owner.namespace,
            "labels": job_labels,
            "annotations": {INPUT_DIGEST_ANNOTATION: digest(document)},
            "ownerReferences": [owner.reference()],
        },
        "spec": spec,
    }


def failure_rules() -> list[dict[str, Any]]:
    """Which pod failures count, in the order Kubernetes applies them.

    Disruptions and a checkpoint written on SIGTERM never count; what would fail again ends the index; the rest counts
    against ``backoffLimitPerIndex``.
    """
    return [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {
            "action": "Ignore",
            "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [EXIT_CHECKPOINTED]},
        },
        {
            "action": "FailIndex",
            "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [EXIT_BAD_INPUT, EXIT_DIVERGED]},
        },
    ]


def pod_spec(
    program: str,
    document: str,
    *,
    device: DeviceSpec,
    storage: StorageSpec,
    template: PodTemplate,
    settings: Settings,
    dataset: str | None,
) -> dict[str, Any]:
    """The pod of a Job, under the restricted Pod Security Standard."""
    # The root is read-only: everything temporary goes where the work goes.
    volumes: list[dict[str, Any]] = [{"name": "work", "emptyDir": {}}]
    mounts: list[dict[str, Any]] = [{"name": "work", "mountPath": WORK_DIRECTORY}]
    if device.type == "cuda":
        # Workers of a data loader hand tensors over through shared memory, of which a container has 64 MiB.
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory"}})
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108
    claim = dataset_claim(dataset) if dataset else None
    if claim is not None:
        volumes.append({"name": "dataset", "persistentVolumeClaim": {"claimName": claim[0], "readOnly": True}})
        mount = {"name": "dataset", "mountPath": DATASET_DIRECTORY, "readOnly": True}
        mounts.append(mount | ({"subPath": claim[1]} if claim[1] else {}))
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 30,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": CONTAINER,
                "image": settings.pod_image,
                "args": [program],
                "env": environment(document, storage),
                "ports": [{"name": "metrics", "containerPort": METRICS_PORT}],
                "resources": resources(device, template),
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
    }
    selector = dict(template.node_selector)
    if device.type == "cuda" and device.product:
        selector["nvidia.com/gpu.product"] = device.product
    optional: dict[str, Any] = {
        "nodeSelector": selector,
        "tolerations": [t.to_manifest() for t in template.tolerations],
        "priorityClassName": template.priority_class_name,
        "serviceAccountName": template.service_account_name,
    }
    return spec | {name: value for name, value in optional.items() if value}


def environment(document: str, storage: StorageSpec) -> list[dict[str, Any]]:
    """The container's variables: input, addresses, and credentials by reference to the tenant's Secret."""
    variables: list[dict[str, Any]] = [
        {"name": INPUT_VARIABLE, "value": document},
        {"name": "NASOA_WORK_DIRECTORY", "value": WORK_DIRECTORY},
        {"name": "HOME", "value": WORK_DIRECTORY},
        {"name": "TMPDIR", "value": WORK_DIRECTORY},
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    if storage.secret_name:
        for keys, optional in ((TENANT_SECRET_KEYS, False), (READER_SECRET_KEYS, True)):
            variables.extend(
                {
                    "name": key,
                    "valueFrom": {"secretKeyRef": {"name": storage.secret_name, "key": key, "optional": optional}},
                }
                for key in keys
            )
    return variables


def resources(device: DeviceSpec, template: PodTemplate) -> dict[str, Any]:
    """Requests that suit the device (a GPU brings 4 cores and 16 GiB), unless the template says otherwise."""
    given = template.resources.to_manifest() if template.resources is not None else {}
    if device.type == "cuda":
        requests = {"cpu": str(4 * device.count), "memory": f"{16 * device.count}Gi"}
        limits = {"memory": f"{16 * device.count}Gi", "nvidia.com/gpu": str(device.count)}
    else:
        requests = {"cpu": str(device.count), "memory": f"{2 * device.count}Gi"}
        limits = {"memory": f"{4 * device.count}Gi"}
    return {
        "requests": requests | given.get("requests", {}),
        "limits": limits | given.get("limits", {}),
    }
