"""Parts of a spec that both kinds have: the data, how S3 is reached, the device, and the pods.

Docstrings of classes and fields are what `kubectl explain` prints, so they speak to whoever writes the YAML. Defaults
are added to them where the CRD is made.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nasoa_runtime.api.base import SpecPart
from nasoa_runtime.api.rules import Rule
from nasoa_runtime.api.types import DatasetUri, Endpoint, Name, ObjectName, Quantity
from nasoa_runtime.boundary import Device

ResourceName = Annotated[str, Field(max_length=128)]
ResourceList = Annotated[dict[ResourceName, Quantity], Field(max_length=16)]
LabelValue = Annotated[str, Field(max_length=63)]


class DatasetSpec(SpecPart):
    """Images in class folders: the name of a folder is the name of a class."""

    uri: DatasetUri
    """Where the class folders are: s3://BUCKET/PREFIX, or pvc://CLAIM/PATH for a claim of this namespace. Above them
    may be two folders, train and test; without these, a fifth of the images is set aside as the test images."""
    max_images: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """The most training images to use, taken from the classes in proportion. Set it to try something out in less time.
    When left out, all images are used."""


class StorageSpec(SpecPart):
    """How the pods reach S3."""

    secret_name: ObjectName | None = None
    """Name of a Secret of this namespace with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and optionally
    NASOA_ZOO_ACCESS_KEY_ID and NASOA_ZOO_SECRET_ACCESS_KEY, by which the zoo is read. The operator never reads it. When
    left out, the pods use the identity of their service account (workload identity)."""
    endpoint: Endpoint | None = None
    """Address of the S3 service as the pods see it, such as https://s3.example.com. When left out, the pods use the
    address that the operator uses."""
    region: str = Field(default="us-east-1", min_length=1, max_length=64)
    """Region that requests to S3 are signed for. Change it if your S3 service expects another one."""


class DeviceSpec(SpecPart):
    """What each pod computes on."""

    RULES = (
        Rule(
            "self.type == 'cuda' || !has(self.product)",
            lambda device: device.type == "cuda" or device.product is None,
            "names a GPU, but type is cpu: leave product out (podTemplate.nodeSelector picks nodes), or set type to"
            " cuda",
            field_path=".product",
        ),
    )

    type: Literal["cpu", "cuda"] = "cpu"
    """Kind of device: cpu asks for CPU cores, cuda for GPUs (nvidia.com/gpu). The field count says how many."""
    count: int = Field(default=1, ge=1, le=64)
    """Number of GPUs, or of CPU cores, that each pod gets."""
    product: str | None = Field(default=None, min_length=1, max_length=63)
    """The GPU that the pods must get, as the node label nvidia.com/gpu.product has it, such as NVIDIA-H100-80GB-HBM3.
    Only for type cuda. When left out, any GPU will do."""

    def record(self) -> Device:
        """The device as documents and pods have it."""
        return Device(type=self.type, count=self.count, product=self.product)


class Resources(SpecPart):
    """Requests and limits of the container; they replace what the operator would ask for, resource by resource."""

    requests: ResourceList = Field(default={})
    """What is reserved on a node for the container, by resource, such as cpu: 2 or memory: 4Gi (bytes). What is left
    out is chosen to suit the device."""
    limits: ResourceList = Field(default={})
    """The most that the container may use, by resource, such as memory: 8Gi (bytes). What is left out is chosen to suit
    the device."""


class Toleration(SpecPart):
    """A taint of nodes that the pods tolerate, as in a pod's spec."""

    key: str | None = Field(default=None, max_length=317)
    """Key of the taint. When left out, all keys are tolerated; operator must then be Exists."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """How the taint is compared: Equal compares its value, Exists does not look at the value."""
    value: str | None = Field(default=None, max_length=63)
    """Value of the taint, for the operator Equal. When left out, it is the empty text."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint. When left out, all effects are tolerated."""
    toleration_seconds: int | None = Field(default=None, ge=0, le=2**31 - 1)
    """How long a pod stays on a node with a NoExecute taint, in seconds. When left out, it stays."""


class PodTemplate(SpecPart):
    """What the pods have beside what the operator decides."""

    resources: Resources | None = None
    """CPU, memory and GPUs of each pod. When left out, they suit the device: a core and 2 GiB for each CPU core, or
    four cores and 16 GiB for each GPU."""
    node_selector: dict[Annotated[str, Field(max_length=317)], LabelValue] = Field(default={}, max_length=16)
    """Labels that a node must have for the pods to run there. When left out, any node will do."""
    tolerations: tuple[Toleration, ...] = Field(default=(), max_length=16)
    """Taints of nodes that the pods tolerate. When left out, the pods keep away from tainted nodes."""
    priority_class_name: ObjectName | None = None
    """PriorityClass of the pods: it decides which pods are scheduled first, and which are preempted. When left out, the
    cluster's default applies."""
    service_account_name: ObjectName | None = None
    """ServiceAccount of the pods; name one that has an identity for S3 if you use no Secret. When left out, it is the
    namespace's default account."""
    queue_name: Name | None = None
    """LocalQueue of Kueue in which the Jobs wait until they are admitted. When left out, no queue is used."""
