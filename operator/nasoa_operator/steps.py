"""What the steps of both kinds share: how an input begins, the Job around it, its retry, and how a look ends. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from nasoa_operator.jobs import Owner, build_job, dataset_uri_in_pod
from nasoa_operator.observed_jobs import ObservedJob
from nasoa_operator.plan import Manifest, Plan
from nasoa_operator.settings import Settings
from nasoa_runtime.api.types import DatasetSpec, DeviceSpec, PodTemplate, StorageSpec
from nasoa_runtime.boundary import DatasetReference, Device, PodInput, Store
from nasoa_runtime.documents.steps import Step

RUNNING_REQUEUE_SECONDS = 3.0


class Spec(Protocol):
    """The fields that both specs have, as far as pods need them."""

    @property
    def dataset(self) -> DatasetSpec: ...  # noqa: D102
    @property
    def device(self) -> DeviceSpec: ...  # noqa: D102
    @property
    def storage(self) -> StorageSpec: ...  # noqa: D102
    @property
    def pod_template(self) -> PodTemplate: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102


class Observed(Protocol):
    """What both snapshots have."""

    @property
    def owner(self) -> Owner: ...  # noqa: D102
    @property
    def spec(self) -> Spec: ...  # noqa: D102
    @property
    def jobs(self) -> Mapping[str, ObservedJob]: ...  # noqa: D102
    @property
    def settings(self) -> Settings: ...  # noqa: D102

    def result_uri(self, step: Step) -> str:
        """Where the pods of ``step`` write their results."""


def device_of(spec: Spec) -> Device:
    """The device of a spec, as records have it."""
    return Device(type=spec.device.type, count=spec.device.count, product=spec.device.product)


def common_input(observed: Observed, step: Step) -> dict[str, Any]:
    """The fields that every pod's input begins with: S3 as the pods reach it, device, results and seed."""
    spec = observed.spec
    endpoint = spec.storage.endpoint or observed.settings.s3_endpoint
    return {
        "store": Store(endpoint=endpoint, region=spec.storage.region),
        "device": device_of(spec),
        "result_uri": observed.result_uri(step),
        "seed": spec.seed,
    }


def dataset_of(spec: Spec, max_images: int | None) -> DatasetReference:
    """The dataset as the pod sees it."""
    return DatasetReference(uri=dataset_uri_in_pod(spec.dataset.uri), seed=spec.seed, max_images=max_images)


def job_for(
    observed: Observed,
    step: Step,
    pod_input: PodInput,
    *,
    completions: int = 1,
    mount_dataset: bool = True,
    active_deadline_seconds: int | None = None,
) -> Manifest:
    """The Job of ``step``, as the spec wants its pods."""
    spec = observed.spec
    return build_job(
        owner=observed.owner,
        step=str(step),
        pod_input=pod_input,
        completions=completions,
        device=spec.device,
        storage=spec.storage,
        template=spec.pod_template,
        settings=observed.settings,
        dataset=spec.dataset.uri if mount_dataset else None,
        active_deadline_seconds=active_deadline_seconds,
    )


def latest_try(jobs: Mapping[str, ObservedJob], step: Step) -> ObservedJob | None:
    """The Job of a step's second try where there is one, else that of its first."""
    return jobs.get(str(step.again())) or jobs.get(str(step))


def unwanted(jobs: Mapping[str, ObservedJob]) -> tuple[str, ...]:
    """Names of the Jobs that are still to be deleted, of those given."""
    return tuple(job.name for job in jobs.values() if not job.deleting)


def with_upkeep(
    step: Plan, jobs: Mapping[str, ObservedJob], recorded: Mapping[str, ObservedJob], **changes: Any
) -> Plan:
    """The plan of ``step`` with what each look ends with: Jobs that are recorded go, those under way are seen again.

    ``changes`` are the plan's further fields, such as its status.
    """
    under_way = any(job.under_way for job in jobs.values())
    return replace(
        step,
        delete_jobs=unwanted(recorded),
        requeue_seconds=RUNNING_REQUEUE_SECONDS if under_way or step.jobs else None,
        **changes,
    )
