"""``probe``: statistics of a request's dataset, and the times really seen on its node (SPEC 5).

Measuring is capped; start-up, listing and reading are not, and are reported instead. The order matters: all step
times are measured in forked processes before this process computes anything itself.
"""

from __future__ import annotations

import importlib
import itertools
import logging
import math
import statistics
import time
from dataclasses import dataclass, field, replace

import numpy as np

from nasoa_runtime.boundary import (
    DatasetStatistics,
    MeasuredModel,
    ModelReference,
    ProbeInput,
    ProbeResult,
    StepFactors,
    StepTime,
)
from nasoa_runtime.documents.base import UnreadableDocumentError, dump, load
from nasoa_runtime.documents.keys import probe_uri
from nasoa_runtime.documents.probe_cache import CachedProbe, ProbeOrigin
from nasoa_runtime.pods.clock import Clock
from nasoa_runtime.pods.dataset.prefetch import Prefetch
from nasoa_runtime.pods.dataset.reading import Dataset
from nasoa_runtime.pods.networks.building import build_model
from nasoa_runtime.pods.networks.weights import fetch_weights
from nasoa_runtime.pods.pod import Pod
from nasoa_runtime.pods.retrying import blaming, retrying
from nasoa_runtime.pods.training.augmentation import AUGMENTING_MODULE
from nasoa_runtime.pods.training.batches import Loader
from nasoa_runtime.pods.training.device import prepare, product_before_torch, product_of
from nasoa_runtime.pods.training.isolation import Measured, measured
from nasoa_runtime.pods.training.profiling import LEAST_STEPS, OPTIONS, WARM_UP_STEPS, Task
from nasoa_runtime.pods.training.similarity import Prototypes, class_prototypes, similarity
from nasoa_runtime.storage.s3 import StoreError, StoreUnavailable

log = logging.getLogger(__name__)

CORRECTIONS = 3
"""Models by which the table is corrected."""
CORRECTION_SHARE, ROWS_SHARE = 0.3, 0.7
"""Shares of the time cap after which correcting, and then measuring missing rows, must have ended."""
ROW_SHARE = 0.5
"""Of the time for a measurement, what its steps may take; the rest is for building the network and warming up."""
START_SECONDS = 1.0
"""For which measuring options would be too careful: a process, a network, its warm-up."""
LOADED_BATCHES = 5


def run(document: ProbeInput, pod: Pod, prefetch: Prefetch, clock: Clock) -> ProbeResult:
    """Measure rows, count images, compare domains."""
    imported = clock.used_seconds()
    dataset = prefetch.dataset()
    origin = origin_of(document, dataset.digest)
    cached = None if origin is None else read_cached(document, origin, pod)
    if cached is not None:
        log.info("An equal dataset was probed before, on the same kind of device, for the same zoo.")
        return cached.model_copy(update={"seconds": clock.used_seconds()})
    if any(measured_model.model.architecture.startswith("timm:") for measured_model in document.models):
        importlib.import_module("timm")
    weights_seconds = _weights_seconds(document, pod)
    # Reading went on while torch was imported, so the later of both counts.
    ready = max(imported, clock.used_seconds() - weights_seconds) + weights_seconds
    augmentation_seconds = _augmentation_seconds() if document.with_options else 0.0
    measuring = _Measuring(document, time.monotonic())
    pod.check_stop()
    measuring.correct()
    measuring.fill_rows()
    measuring.fill_options()
    build_seconds = _build_seconds(document, dataset)
    result = ProbeResult(
        device=document.device.model_copy(update={"product": measuring.product or product_of(document.device)}),
        statistics=_statistics(dataset, _similarities(document, dataset, pod, measuring)),
        startup_seconds=ready + build_seconds,
        loading_seconds_per_image=_loading_seconds_per_image(document, dataset),
        step_correction=measuring.correction,
        rows={name: rows for name, rows in measuring.rows.items() if rows},
        factors=measuring.factors,
        augmentation_startup_seconds=augmentation_seconds,
        batch_size=document.batch_size,
        infeasible=tuple(sorted(measuring.infeasible)),
        seconds=clock.used_seconds(),
    )
    if origin is not None and document.cache_uri is not None:
        uri, body = probe_uri(document.cache_uri, origin.digest), dump(CachedProbe(origin=origin, result=result))
        with blaming("outputURI"):
            retrying(lambda: pod.store.create(uri, body))
    return result


def origin_of(document: ProbeInput, dataset_digest: str) -> ProbeOrigin | None:
    """All that the probe follows from; ``None`` where the device's product can't be told."""
    product = product_before_torch(document.device)
    if product is None:
        return None
    return ProbeOrigin(
        dataset=dataset_digest,
        zoo=document.zoo,
        device=document.device.model_copy(update={"product": product}),
        batch_size=document.batch_size,
        with_options=document.with_options,
        time_cap_seconds=document.time_cap_seconds,
    )


def read_cached(document: ProbeInput, origin: ProbeOrigin, pod: Pod) -> ProbeResult | None:
    """The probe made earlier of an equal dataset; one that can't be read is as good as none."""
    if document.cache_uri is None:
        return None
    uri = probe_uri(document.cache_uri, origin.digest)
    found = retrying(lambda: pod.store.get(uri))
    if found is None:
        return None
    try:
        cached = load(CachedProbe, found.body, uri)
    except UnreadableDocumentError as error:
        log.warning("%s It is probed again.", error)
        return None
    return cached.result if cached.origin == origin else None


@dataclass
class _Measuring:
    """Step times measured under a cap."""

    document: ProbeInput
    started: float
    rows: dict[str, tuple[StepTime, ...]] = field(default_factory=dict)
    factors: dict[str, StepFactors] = field(default_factory=dict)
    infeasible: set[str] = field(default_factory=set)
    ratios: list[float] = field(default_factory=list)
    product: str | None = None

    def left(self, share: float = 1.0) -> float:
        """Seconds until ``share`` of the cap is used."""
        return share * self.document.time_cap_seconds - (time.monotonic() - self.started)

    @property
    def correction(self) -> float:
        """Median of measured over known."""
        return statistics.median(self.ratios) if self.ratios else 1.0

    def correct(self) -> None:
        """Time again one known row of each of a few models, the quickest first."""
        known = [m for m in self.document.models if m.frozen_stages_known]
        known.sort(key=lambda m: min(m.frozen_stages_known.values()))
        for measured_model in known[:CORRECTIONS]:
            if self.left(CORRECTION_SHARE) <= 0:
                return
            stages = min(measured_model.frozen_stages_known)
            found = self._measure(measured_model.model, (stages,), self.left(CORRECTION_SHARE), inference=False)
            if found.rows:
                self.ratios.append(found.rows[0].step_seconds / measured_model.frozen_stages_known[stages])

    def fill_rows(self) -> None:
        """Measure what the table lacks: for every model its first missing row before any model's second."""
        wanted = [
            (number, m, stages) for m in self.document.models for number, stages in enumerate(m.frozen_stages_missing)
        ]
        if self.left(ROWS_SHARE) > _affords(len(wanted)):
            # There is time for everything: one process for each model saves the start of one for each row.
            for m in self.document.models:
                self._fill(m, m.frozen_stages_missing)
            return
        for _, m, stages in sorted(wanted, key=lambda row: row[0]):
            self._fill(m, (stages,))

    def _fill(self, measured_model: MeasuredModel, stages: tuple[int, ...]) -> None:
        name = measured_model.model.name
        if not stages or self.left(ROWS_SHARE) <= 0 or name in self.infeasible:
            return
        found = self._measure(measured_model.model, stages, self.left(ROWS_SHARE), inference=True)
        self.rows[name] = self.rows.get(name, ()) + found.rows

    def fill_options(self) -> None:
        """Measure how much options slow steps, and a second batch size, where the rest of the time is enough for it."""
        wanted = [(self._step_seconds(m), m) for m in self.document.models if m.model.name not in self.infeasible]
        for step_seconds, m in sorted(wanted, key=lambda each: each[0]):
            self._fill_options(m, step_seconds)

    def _step_seconds(self, measured_model: MeasuredModel) -> float:
        """Seconds of the slowest step that is known; infinity where none is."""
        known = [self.correction * seconds for seconds in measured_model.frozen_stages_known.values()]
        known += [row.step_seconds for row in self.rows.get(measured_model.model.name, ())]
        return max(known, default=math.inf)

    def _fill_options(self, measured_model: MeasuredModel, step_seconds: float) -> None:
        other, left = measured_model.other_batch_size_missing, self.left(ROWS_SHARE)
        turns = WARM_UP_STEPS[self.document.device.type] + LEAST_STEPS
        size = other is not None and left > turns * step_seconds * other / self.document.batch_size + START_SECONDS
        if size and other is not None:
            left -= turns * step_seconds * other / self.document.batch_size
        factors = measured_model.factors_missing and left > turns * step_seconds * (len(OPTIONS) + 1) + START_SECONDS
        if not (size or factors):
            return
        task = replace(
            self._task(measured_model.model, (), ROW_SHARE * left / 2),
            other_batch_sizes=(other,) if size and other is not None else (),
            with_factors=factors,
        )
        # What fails here, as a batch that does not fit, says nothing about the model: it is run by other regimes.
        found, name = measured(task, self.left(ROWS_SHARE)), measured_model.model.name
        self.rows[name] = self.rows.get(name, ()) + found.rows
        if found.factors is not None:
            self.factors[name] = found.factors

    def _task(self, model: ModelReference, stages: tuple[int, ...], row_seconds: float) -> Task:
        return Task(
            architecture=model.architecture,
            classes=model.source_classes,
            batch_size=self.document.batch_size,
            image_size=model.preprocessing.image_size,
            device=self.document.device,
            low_resolution_stem=model.low_resolution_stem,
            precision=model.precision,
            channels_last=model.channels_last,
            frozen_stages=stages,
            row_seconds=row_seconds,
        )

    def _measure(
        self, model: ModelReference, stages: tuple[int, ...], limit_seconds: float, *, inference: bool
    ) -> Measured:
        task = self._task(model, stages, ROW_SHARE * limit_seconds / len(stages))
        found = measured(replace(task, with_inference=inference), limit_seconds)
        if found.failure == "OutOfMemory":
            self.infeasible.add(model.name)
        elif found.failure is not None:
            log.warning("%s: %s: %s", model.name, found.failure, found.message)
        if found.rows:
            self.product = found.rows[0].product
        return found


def _affords(rows: int) -> float:
    """Seconds for which measuring row by row would be too careful."""
    return 1.0 * rows


def _augmentation_seconds() -> float:
    """Seconds to import what augments images: once, here, rather than in every measuring process."""
    started = time.monotonic()
    importlib.import_module(AUGMENTING_MODULE)
    return time.monotonic() - started


def _weights_seconds(document: ProbeInput, pod: Pod) -> float:
    """Seconds to fetch one model's weights: what a fine-tuning pod will spend on them."""
    if not document.models:
        return 0.0
    started = time.monotonic()
    model = document.models[0].model
    fetch_weights(pod.zoo_store, model.weights_uri, model.weights_digest)
    return time.monotonic() - started


def _build_seconds(document: ProbeInput, dataset: Dataset) -> float:
    if not document.models:
        return 0.0
    started = time.monotonic()
    model = document.models[0].model
    build_model(model.architecture, len(dataset.classes), low_resolution_stem=model.low_resolution_stem)
    return time.monotonic() - started


def _loading_seconds_per_image(document: ProbeInput, dataset: Dataset) -> float:
    """Median seconds an image takes from memory or disk into an augmented batch."""
    loader = Loader(dataset, document.preprocessing, document.batch_size, 0, prepare(document.device))
    batches = loader.training()
    times = []
    for _ in range(LOADED_BATCHES):
        started = time.perf_counter()
        next(batches)
        times.append(time.perf_counter() - started)
    return statistics.median(times) / document.batch_size


def _similarities(document: ProbeInput, dataset: Dataset, pod: Pod, measuring: _Measuring) -> dict[str, float]:
    """Similarity to each source; one that is missing is left to whoever plans, who knows the running mean."""
    if document.extractor is None or not document.sources or measuring.left() <= 0:
        return {}
    target = prepare(document.device)
    own = class_prototypes(dataset, document.extractor, pod.zoo_store, target, seconds=measuring.left())
    found: dict[str, float] = {}
    for name, uri in sorted(document.sources.items()):
        try:
            source = pod.zoo_store.get(uri)
            if source is not None:
                found[name] = similarity(own, Prototypes.from_bytes(source.body))
        except StoreUnavailable:
            raise
        except (StoreError, ValueError) as error:
            log.warning("Source %s can't be compared with: %s", name, error)
    return found


def _statistics(dataset: Dataset, similarities: dict[str, float]) -> DatasetStatistics:
    per_class = dataset.images_per_class
    return DatasetStatistics(
        digest=dataset.digest,
        classes=len(dataset.classes),
        images=len(dataset.splits.train),
        validation_images=len(dataset.splits.validation),
        test_images=len(dataset.splits.test),
        images_per_class_mean=float(np.mean(per_class)),
        images_per_class_std=float(np.std(per_class)),
        broken_images=len(dataset.broken),
        broken_examples=tuple(itertools.islice((text[:512] for text in dataset.broken), 5)),
        domain_similarity=similarities,
    )
