"""Requests that were recorded with the packaged start: the same is suggested, learned and predicted.

`tests/golden/decisions.json` holds a zoo and, for each request, what of the specification and of the probe was not the
default, the candidates that were handed over, what was learned of the first one's run, and what was then predicted.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from builders import a_request
from described import a_dataset

from nasoa_runtime.api.finetune import FineTuneRequestSpec
from nasoa_runtime.boundary import Device, ProbeResult, Regime, Run
from nasoa_runtime.documents.zoo import ZooManifest, ZooModel
from nasoa_runtime.online.candidates import NothingFits
from nasoa_runtime.online.decision import model_facts
from nasoa_runtime.online.description import Batch
from nasoa_runtime.online.learning import LearnedRequest, outcome_record
from nasoa_runtime.online.strategies import ONE_SHOT
from nasoa_runtime.online.warm_start import warm_started
from nasoa_runtime.planning import suggest_for

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "decisions.json").read_text())
ZOO = [ZooModel.model_validate(fields) for fields in GOLDEN["zoo"]]
REQUESTS = [
    pytest.param(recorded, id=f"{number}{' of another dataset' if recorded['probe'] else ''}: {recorded['spec']}")
    for number, recorded in enumerate(GOLDEN["requests"])
]
REQUEST = LearnedRequest("uid", "team/digits", "fashion", datetime(2026, 1, 1, tzinfo=UTC), 32)


def probe_of(recorded):
    """The probe of a dataset of ten classes, but for what is recorded of it."""
    fields = {
        "device": Device(product="test"),
        "statistics": a_dataset(validation_images=250, test_images=300, images_per_class_std=4),
        "startup_seconds": 9.0,
        "loading_seconds_per_image": 0.0001,
        "step_correction": 1.0,
        "seconds": 3.0,
    }
    return ProbeResult.model_validate(fields | recorded["probe"])


def suggested(recorded, predictor):
    """What is suggested for the recorded specification."""
    spec = FineTuneRequestSpec.model_validate(a_request(**{"strategy": "OneShot"} | recorded["spec"])["spec"])
    zoo = ZooManifest(name="fashion", owner="search", version=3, models=tuple(ZOO))
    return suggest_for(spec, zoo, probe_of(recorded), predictor)


@pytest.fixture(scope="module")
def predictor():
    return warm_started(models=[model.name for model in ZOO])


@pytest.mark.parametrize("recorded", REQUESTS)
def test_a_recorded_request_is_decided_learned_and_predicted_as_it_was(recorded, predictor):
    suggestion = suggested(recorded, predictor)
    if "failed" in recorded:
        assert isinstance(suggestion, NothingFits)
        assert suggestion.reason == recorded["failed"]
        return
    handed_over = [suggestion.chosen, *suggestion.runners_up]
    regimes = [[c.model, c.learning_rate, c.frozen_stages, c.iterations] for c in handed_over]
    assert regimes == [regime[:4] for regime in recorded["regimes"]]
    accuracies = [c.predicted_accuracy for c in handed_over]
    assert accuracies == pytest.approx([regime[4] for regime in recorded["regimes"]], abs=1e-4)
    assert suggestion.candidates == recorded["candidates"]
    assert suggestion.chosen.seconds == pytest.approx(recorded["planned_seconds"], abs=1e-6)

    dataset, chosen = probe_of(recorded).statistics, suggestion.chosen
    regime = Regime(
        model=chosen.model,
        learning_rate=chosen.learning_rate,
        frozen_stages=chosen.frozen_stages,
        steps=chosen.iterations,
        step_seconds=chosen.step_seconds,
        predicted_accuracy=chosen.predicted_accuracy,
    )
    run = Run(regime=regime, steps=regime.steps, validation_accuracy=0.8, step_seconds=0.05, seconds=40.0)
    facts = [model_facts(model, dataset) for model in ZOO]
    record = outcome_record(REQUEST, facts, dataset, [run], 0, ONE_SHOT)
    (outcome,) = record.runs
    assert [outcome.model_dump(mode="json")] == recorded["learned"]

    state = predictor.update(record)
    after = state.predict(Batch.of([outcome.description], dataset=record.dataset))
    assert after.tolist() == pytest.approx(recorded["predicted_after"], abs=1e-4)
