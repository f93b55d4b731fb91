"""What a request's pods are given to do. Pure."""

from __future__ import annotations

from nasoa_operator.finetune.observed import ObservedRequest
from nasoa_operator.finetune.scheduling import measured_models, probed_batch_size
from nasoa_operator.plan import Manifest
from nasoa_operator.steps import common_input, dataset_of, job_for
from nasoa_runtime.boundary import FinetuneInput, ProbeInput, ProbeResult
from nasoa_runtime.documents.request import Schedule
from nasoa_runtime.documents.steps import Step
from nasoa_runtime.durations import seconds
from nasoa_runtime.planning import pinned_grid, unnamed_batch_size

PROBE_SHARE = 0.1
"""Share of T_l that the probe's measuring may take."""
BACKSTOP_FACTOR, BACKSTOP_SECONDS = 2, 900
"""When Kubernetes itself ends a fine-tuning Job that no longer keeps its own clock."""


def probe_job(observed: ObservedRequest, step: Step) -> Manifest:
    """The probe's Job."""
    spec, zoo = observed.spec, observed.zoo
    limit = seconds(spec.time_limit)
    pod_input = ProbeInput(
        **common_input(observed, step),
        dataset=dataset_of(spec, spec.dataset.max_images),
        batch_size=probed_batch_size(observed, zoo),
        time_cap_seconds=PROBE_SHARE * limit,
        models=measured_models(observed, zoo) if zoo else (),
        extractor=zoo.extractor if zoo else None,
        sources=dict(zoo.sources) if zoo else {},
        with_options=pinned_grid(spec).has_options,
        zoo=f"{zoo.name} {zoo.version}" if zoo else "",
        cache_uri=observed.uris.probes,
    )
    return job_for(observed, step, pod_input, active_deadline_seconds=int(limit) + BACKSTOP_SECONDS)


def finetune_job(observed: ObservedRequest, step: Step, known: ProbeResult, decided: Schedule) -> Manifest:
    """The one fine-tuning Job, built from the persisted schedule alone."""
    spec = observed.spec
    limit = seconds(spec.time_limit)
    # The table's rows hold for the product that was probed, so that is asked for again.
    common = common_input(observed, step) | {"device": known.device}
    pod_input = FinetuneInput(
        **common,
        request=f"{observed.owner.namespace}/{observed.owner.name} {observed.owner.uid}",
        dataset=dataset_of(spec, spec.dataset.max_images),
        time_limit_seconds=limit,
        batch_size=unnamed_batch_size(observed.spec),
        models=decided.models,
        strategy=decided.strategy,
        regimes=decided.regimes,
        output_uri=observed.uris.model,
        work_uri=observed.uris.work,
    )
    backstop = BACKSTOP_FACTOR * int(limit) + BACKSTOP_SECONDS
    return job_for(observed, step, pod_input, active_deadline_seconds=backstop)
