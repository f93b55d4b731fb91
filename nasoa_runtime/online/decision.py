"""From a zoo and a probe to what the generator works on. Pure; planning in advance and planning for real share it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from nasoa_runtime.boundary import DatasetStatistics, Device, ProbeResult, StepTime
from nasoa_runtime.documents.outcomes import ModelFacts
from nasoa_runtime.documents.zoo import ZooModel
from nasoa_runtime.online.candidates import ModelChoice, Overheads

UPLOAD_BYTES_PER_SECOND = 20e6
UPLOAD_BASE_SECONDS = 1.0


def rows_on(model: ZooModel, device: Device) -> list[StepTime]:
    """The table's rows that hold for a device, of all batch sizes; without a product the device's any product."""
    return [
        row
        for row in model.step_times
        if row.device == device.type
        and row.count == device.count
        and (device.product is None or row.product == device.product)
        and row.image_size == model.preprocessing.image_size
        and row.channels_last == model.channels_last
        and row.precision == model.precision
    ]


def rows_for(model: ZooModel, device: Device, batch_size: int) -> dict[int, StepTime]:
    """Those of one batch size, by frozen stages."""
    return {row.frozen_stages: row for row in rows_on(model, device) if row.batch_size == batch_size}


def other_batches(rows: Iterable[StepTime], batch_size: int) -> dict[int, float]:
    """Seconds of a step with nothing frozen, by batch size, of batch sizes but one."""
    return {row.batch_size: row.step_seconds for row in rows if row.frozen_stages == 0 and row.batch_size != batch_size}


def factors_on(model: ZooModel, device: Device) -> dict[str, float]:
    """By how much each option slows a step of the model on a device; the first of several figures counts."""
    known: dict[str, float] = {}
    for measured in model.step_factors:
        if (
            measured.device == device.type
            and measured.count == device.count
            and (device.product is None or measured.product == device.product)
        ):
            known = measured.factors | known
    return known


def family_of(architecture: str) -> str:
    """The family of a model by its architecture: ``efficientnet`` of ``timm:tf_efficientnet_lite0``."""
    library, _, name = architecture.rpartition(":")
    if not library:
        return "encoding"
    first = name.removeprefix("tf_").partition("_")[0].partition(".")[0]
    # A size is no part of a family's name, a version is: resnet50, deit3.
    return re.sub(r"\d{2,}$", "", first)


def model_facts(model: ZooModel, dataset: DatasetStatistics) -> ModelFacts:
    """What the predictor is told of ``model`` for runs on ``dataset``."""
    return ModelFacts(
        name=model.name,
        source=model.source,
        source_accuracy=model.source_accuracy,
        parameters=model.parameters,
        macs=model.macs,
        known_as=model.architecture,
        family=family_of(model.architecture),
        image_size=model.preprocessing.image_size,
        reduced_precision=model.precision != "fp32",
        domain_similarity=dataset.domain_similarity.get(model.source),
    )


def model_choices(models: Sequence[ZooModel], probe: ProbeResult, batch_size: int) -> list[ModelChoice]:
    """What the generator chooses from: models with what holds on the probed device.

    Args:
        models: the zoo's.
        probe: of the request.
        batch_size: that the probe has measured with; of a model of which more is known at another size, rows of that
            are taken, from which the generator computes.
    """
    return [_choice(model, probe, _known_batch_size(model, probe, batch_size)) for model in models]


def _known_batch_size(model: ZooModel, probe: ProbeResult, wanted: int) -> int:
    """The batch size of which most ways of freezing are known, the wanted one of equals."""
    rows = (*rows_on(model, probe.device), *probe.rows.get(model.name, ()))
    known = Counter(size for size, _ in {(row.batch_size, row.frozen_stages) for row in rows})
    return max((wanted, *known), key=lambda size: (known[size], size == wanted, -size))


def _choice(model: ZooModel, probe: ProbeResult, batch_size: int) -> ModelChoice:
    rows = rows_for(model, probe.device, batch_size)
    # Rows that the probe measured are true of this node as they are; the correction is meant for the table's.
    seen = [
        row.model_copy(update={"step_seconds": row.step_seconds / probe.step_correction})
        for row in probe.rows.get(model.name, ())
    ]
    measured = {row.frozen_stages: row for row in seen if row.batch_size == batch_size}
    step_seconds = {k: row.step_seconds for k, row in (rows | measured).items()}
    inference = [row.inference_seconds for row in (*measured.values(), *rows.values()) if row.inference_seconds]
    per_batch = max(inference, default=max(step_seconds.values(), default=0.0))
    factors = probe.factors.get(model.name)
    return ModelChoice(
        facts=model_facts(model, probe.statistics),
        step_seconds=step_seconds,
        inference_seconds_per_image=per_batch / batch_size,
        batch_size=batch_size,
        other_batches=other_batches((*rows_on(model, probe.device), *seen), batch_size),
        step_factors=factors_on(model, probe.device) | (factors.factors if factors else {}),
    )


def overheads(models: Sequence[ZooModel], probe: ProbeResult) -> Overheads:
    """What a run costs beside its steps, from the probe and the largest model's size."""
    largest = max((model.weights_bytes for model in models), default=0)
    return Overheads(
        startup_seconds=probe.startup_seconds,
        upload_seconds=UPLOAD_BASE_SECONDS + largest / UPLOAD_BYTES_PER_SECOND,
        loading_seconds_per_image=probe.loading_seconds_per_image,
        step_correction=probe.step_correction,
        augmentation_startup_seconds=probe.augmentation_startup_seconds,
    )
