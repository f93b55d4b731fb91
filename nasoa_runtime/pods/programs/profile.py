"""``profile``: step times of the proposed architectures, one after another on the reference device (SPEC 3)."""

from __future__ import annotations

import importlib
import logging
import time
from dataclasses import replace

from nasoa_runtime.boundary import Measurement, NamedArchitecture, ProfileInput, ProfileResult, StepTime, digest
from nasoa_runtime.pods import metrics
from nasoa_runtime.pods.clock import Clock
from nasoa_runtime.pods.dataset.prefetch import Prefetch
from nasoa_runtime.pods.pod import Pod
from nasoa_runtime.pods.retrying import retrying
from nasoa_runtime.pods.training.augmentation import AUGMENTING_MODULE
from nasoa_runtime.pods.training.device import prepare, product_of
from nasoa_runtime.pods.training.isolation import measured
from nasoa_runtime.pods.training.profiling import Task, drift_factor
from nasoa_runtime.pods.training.similarity import Prototypes, class_prototypes

log = logging.getLogger(__name__)

GIVE_UP_FACTOR = 1.5
"""Architectures this much slower than T_m need no exact figure."""


def run(document: ProfileInput, pod: Pod, prefetch: Prefetch, clock: Clock) -> ProfileResult:
    """Measure architectures in order until enough of them meet T_m, then the prototypes if they are asked for."""
    if document.prototypes_of is not None:
        prefetch.dataset()  # Read before anything is timed, so that nothing else runs meanwhile.
    if any(named.architecture.startswith("timm:") for named in document.architectures):
        importlib.import_module("timm")  # Once, here, rather than in every measuring process.
    if document.with_factors:
        importlib.import_module(AUGMENTING_MODULE)  # Likewise.
    anchor = _anchor_seconds(document)
    drift = drift_factor(document.anchor_step_seconds, anchor)
    measurements: list[Measurement] = []
    met = 0
    for named in document.architectures:
        if document.wanted is not None and met >= document.wanted:
            break
        pod.check_stop()
        measurement = _measurement(document, named, drift)
        measurements.append(measurement)
        seconds = measurement.step_seconds
        if seconds is not None:
            metrics.PROFILED_STEP_SECONDS.labels(architecture=named.architecture).set(seconds)
            met += document.max_step_seconds is None or seconds <= document.max_step_seconds
        log.info("%s: %s", named.name, measurement.failure or f"{1000 * (seconds or 0):.2f} ms a step")
    rows = [row for measurement in measurements for row in measurement.rows]
    product = rows[0].product if rows else product_of(document.device)
    return ProfileResult(
        device=document.device.model_copy(update={"product": product}),
        measurements=tuple(measurements),
        anchor_step_seconds=anchor,
        drift=drift,
        prototypes_digest=_prototypes(document, pod, prefetch),
        seconds=clock.used_seconds(),
    )


def _task(document: ProfileInput, architecture: str) -> Task:
    limit = document.max_step_seconds
    return Task(
        architecture=architecture,
        classes=document.classes,
        batch_size=document.batch_size,
        image_size=document.image_size,
        device=document.device,
        low_resolution_stem=document.low_resolution_stem,
        precision=document.precision,
        choose_layout=document.choose_layout,
        frozen_stages=document.frozen_stages,
        steps=document.steps,
        give_up_seconds=None if limit is None else GIVE_UP_FACTOR * limit,
        with_inference=_wants_table(document),
    )


def _whole_task(document: ProfileInput, architecture: str) -> Task:
    """With what a zoo's table has beside ways of freezing."""
    return replace(
        _task(document, architecture),
        other_batch_sizes=document.other_batch_sizes,
        with_factors=document.with_factors,
    )


def _wants_table(document: ProfileInput) -> bool:
    return document.choose_layout or document.frozen_stages != (0,)


def _anchor_seconds(document: ProfileInput) -> float | None:
    if document.anchor is None:
        return None
    found = measured(_task(document, document.anchor), document.time_limit_seconds)
    if not found.rows:
        log.warning("The anchor can't be measured (%s); figures are not corrected.", found.message)
        return None
    return found.rows[0].step_seconds


def _measurement(document: ProfileInput, named: NamedArchitecture, drift: float) -> Measurement:
    found = measured(_whole_task(document, named.architecture), document.time_limit_seconds)
    rows = tuple(row.model_copy(update={"step_seconds": drift * row.step_seconds}) for row in found.rows)
    # What comes after these may fail, as a larger batch may not fit: then it is not known.
    complete = len(rows) >= len(document.frozen_stages)
    if not rows or (found.failure is not None and not complete):
        return Measurement(name=named.name, failure=found.failure or "Error", message=found.message[:300])
    return Measurement(
        name=named.name,
        step_seconds=_least_frozen(rows).step_seconds,
        rows=rows if _wants_table(document) else (),
        factors=found.factors,
    )


def _least_frozen(rows: tuple[StepTime, ...]) -> StepTime:
    """The first of those: other batch sizes come last."""
    return min(rows, key=lambda row: row.frozen_stages)


def _prototypes(document: ProfileInput, pod: Pod, prefetch: Prefetch) -> str | None:
    """Compute and write the source's prototypes: after the last measurement, as the parent may compute only then."""
    if document.prototypes_of is None or document.extractor is None or document.prototypes_uri is None:
        return None
    uri, started = document.prototypes_uri, time.monotonic()
    prototypes: Prototypes = class_prototypes(
        prefetch.dataset(), document.extractor, pod.zoo_store, prepare(document.device)
    )
    body = prototypes.to_bytes()
    retrying(lambda: pod.store.put(uri, body))
    log.info("Prototypes of %d classes in %.1f s.", len(prototypes.weights), time.monotonic() - started)
    return digest(body)
