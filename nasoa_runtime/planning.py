"""From a request to what is suggested for it. Planning in advance, for real and in hindsight are one path. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nasoa_runtime import boundary
from nasoa_runtime.api.finetune import FineTuneRequestSpec
from nasoa_runtime.boundary import Device, ProbeResult
from nasoa_runtime.documents.zoo import ZooManifest, ZooModel
from nasoa_runtime.durations import duration, seconds
from nasoa_runtime.online.candidates import PAPER, PRESETS, Grid, NothingFits, Request, Suggestion
from nasoa_runtime.online.decision import model_choices, overheads, rows_on
from nasoa_runtime.online.generator import RUNNERS_UP, ranked
from nasoa_runtime.online.ranking import Ranking
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.online.strategies import strategy_named

OPTIMIZERS = {word: name for name, word in boundary.OPTIMIZERS.items()}
AUGMENTATIONS = {word: name for name, word in boundary.AUGMENTATIONS.items()}
"""From what a spec calls them to what regimes do."""
HEADROOM = 1.25
"""An advised time limit over the least one: the next probe may see the node busier."""


def suggest_for(
    spec: FineTuneRequestSpec, zoo: ZooManifest, probe: ProbeResult, predictor: PredictorState
) -> Suggestion | NothingFits:
    """The schedule that ``predictor`` suggests for a request, or why there is none.

    Args:
        spec: what is asked for.
        zoo: what there is to choose from.
        probe: what is known of the dataset, and of the device that the request runs on.
        predictor: what has been learned so far; asking changes nothing.
    """
    ranking = ranked_for(spec, zoo, probe, predictor)
    return ranking if isinstance(ranking, NothingFits) else suggested_of(ranking, spec)


def suggested_of(ranking: Ranking, spec: FineTuneRequestSpec) -> Suggestion:
    """What the request's strategy takes of all that was ranked."""
    return strategy_named(spec.strategy).suggest(ranking, RUNNERS_UP)


def ranked_for(
    spec: FineTuneRequestSpec, zoo: ZooManifest, probe: ProbeResult, predictor: PredictorState
) -> Ranking | NothingFits:
    """All candidates of a request, best first, or why there are none; see :func:`suggest_for`."""
    batch_size = probe.batch_size or measured_batch_size(spec, zoo.models, probe.device)
    return ranked(
        request_of(spec, probe),
        model_choices(zoo.models, probe, batch_size),
        probe.statistics,
        overheads(zoo.models, probe),
        predictor,
        grid_of(spec),
    )


def request_of(spec: FineTuneRequestSpec, probe: ProbeResult) -> Request:
    """What the generator must keep to."""
    return replace(_asked(spec), infeasible=frozenset(probe.infeasible))


def _asked(spec: FineTuneRequestSpec) -> Request:
    """What the spec alone says of that."""
    pins = spec.pins
    return Request(
        time_limit_seconds=seconds(spec.time_limit),
        batch_size=spec.pinned_batch_size,
        model=pins.model,
        learning_rate=pins.learning_rate,
        frozen_stages=pins.frozen_stages,
        steps=pins.steps,
        optimizer=None if pins.optimizer is None else OPTIMIZERS[pins.optimizer],
        weight_decay=pins.weight_decay,
        layer_decay=pins.layer_decay,
        label_smoothing=pins.label_smoothing,
        mixup=pins.mixup,
        mirroring=pins.mirroring,
        augmentation=None if pins.augmentation is None else AUGMENTATIONS[pins.augmentation],
        ema=pins.ema,
        linear_probe=pins.linear_probe,
        most_parameters=spec.limits.max_parameters,
        most_inference_milliseconds=spec.limits.max_inference_milliseconds,
        strategy=spec.strategy,
        seed=spec.seed,
    )


def grid_of(spec: FineTuneRequestSpec) -> Grid:
    """What the generator chooses among: the preset, but for the lists that are written."""
    written = spec.grid
    lists: dict[str, Sequence[Any] | None] = {
        "learning_rates": written.learning_rates,
        "adamw_learning_rates": written.learning_rates,
        "frozen_stages": written.frozen_stages,
        "fractions": written.step_fractions,
        "optimizers": written.optimizers and [OPTIMIZERS[name] for name in written.optimizers],
        "batch_sizes": written.batch_sizes,
        "weight_decays": written.weight_decays,
        "adamw_weight_decays": written.weight_decays,
        "layer_decays": written.layer_decays,
        "label_smoothings": written.label_smoothings,
        "mixups": written.mixups,
        "mirrorings": written.mirrorings,
        "augmentations": written.augmentations and [AUGMENTATIONS[name] for name in written.augmentations],
        "emas": written.emas,
    }
    # A value that is written twice is one value.
    changes: dict[str, Any] = {n: tuple(dict.fromkeys(values)) for n, values in lists.items() if values is not None}
    if written.linear_probe is not None:
        changes["linear_probes"] = written.linear_probe
    return replace(PRESETS[written.preset], most_epochs=written.max_epochs, **changes)


def pinned_grid(spec: FineTuneRequestSpec) -> Grid:
    """What is left of the grid by what is pinned."""
    return grid_of(spec).pinned(_asked(spec))


def measured_batch_size(spec: FineTuneRequestSpec, models: Sequence[ZooModel], device: Device) -> int:
    """The batch size whose rows of the step-time table a request is planned with; others are computed from it.

    It is the one that the request will have if that is settled, else the one of which the zoo knows the most rows, and
    of these the grid's first: so the probe has little to measure.
    """
    sizes = pinned_grid(spec).batch_sizes
    if len(sizes) == 1:
        return sizes[0]
    known = Counter(row.batch_size for model in models for row in rows_on(model, device))
    place = {size: number for number, size in enumerate(sizes)}
    return max((*sizes, *known), key=lambda size: (known[size], -place.get(size, len(sizes))))


def unnamed_batch_size(spec: FineTuneRequestSpec) -> int:
    """The batch size of regimes that name none, which those of older schedules are."""
    return spec.pinned_batch_size or PAPER.batch_sizes[0]


def why_nothing_fits(nothing: NothingFits) -> str:
    """Why there is no schedule: the field that rules it out, and what to write instead."""
    fields = {"UnknownModel": "spec.pins.model", "NoModelWithinLimits": "spec.limits"}
    message = f"{nothing.field or fields.get(nothing.reason, 'spec.timeLimit')}: {nothing.message}"
    if nothing.least_seconds is None:
        return message
    enough = duration(math.ceil(HEADROOM * nothing.least_seconds))
    return f"{message}, by this probe; write timeLimit: {enough} or more, as start-up times vary"
