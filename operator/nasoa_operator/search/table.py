"""The step-time table of the pretrained models, and the class prototypes of their source. Pure."""

from __future__ import annotations

from functools import partial

from nasoa_operator.plan import Event, Manifest, Plan
from nasoa_operator.search.observed import ObservedSearch
from nasoa_operator.search.profiling import measured_by_pod
from nasoa_operator.steps import common_input, dataset_of, job_for
from nasoa_runtime.architecture.structure import FROZEN_STAGES
from nasoa_runtime.boundary import NamedArchitecture, ProfileInput
from nasoa_runtime.documents.keys import SearchPart
from nasoa_runtime.documents.search import Pretrained, Selection, StepTimeTable
from nasoa_runtime.documents.steps import TABLE, Step

SECOND_BATCH_FACTOR = 2
"""A second batch size is measured too, so that seconds of other sizes follow from both."""


def measure_table(observed: ObservedSearch, selection: Selection, pretrained: Pretrained) -> Plan:
    """Have the step-time table and the source's class prototypes measured, alone on the reference device."""
    found = measured_by_pod(observed, TABLE, partial(table_job, observed, selection=selection, pretrained=pretrained))
    if isinstance(found, Plan):
        return found
    _, result = found
    table = StepTimeTable(
        measurements=result.measurements,
        prototypes_uri=observed.uris.prototypes if result.prototypes_digest else None,
        prototypes_digest=result.prototypes_digest,
        seconds=result.seconds,
    )
    rows = sum(len(m.rows) for m in result.measurements)
    event = Event("StepTimeTableMeasured", f"{rows} rows of the step-time table measured", "table")
    return observed.write(SearchPart("table"), table, event)


def table_job(observed: ObservedSearch, step: Step, selection: Selection, pretrained: Pretrained) -> Manifest:
    """One pod that measures all published models in all ways of freezing them."""
    spec, zoo, extractor = observed.spec, observed.spec.zoo, selection.extractor
    pod_input = ProfileInput(
        **common_input(observed, step),
        architectures=tuple(
            NamedArchitecture(name=observed.model_name(m.index), architecture=m.selected.encoding)
            for m in pretrained.models
        ),
        batch_size=zoo.step_time_batch_size,
        image_size=zoo.image_size,
        classes=len(pretrained.models[0].result.classes),
        low_resolution_stem=spec.low_resolution_stem,
        frozen_stages=FROZEN_STAGES,
        other_batch_sizes=(SECOND_BATCH_FACTOR * zoo.step_time_batch_size,),
        with_factors=True,
        choose_layout=True,
        prototypes_of=dataset_of(spec, spec.dataset.max_images) if extractor else None,
        extractor=extractor,
        prototypes_uri=observed.uris.prototypes if extractor else None,
    )
    return job_for(observed, step, pod_input)
