"""Decisions that were recorded once, of searches and requests: the same inputs still lead to them."""

import json
from pathlib import Path

import pytest
from request_simulation import UID, RequestSimulation, Taught, a_probe, a_zoo, run
from simulation import Simulation

from nasoa_operator.pod_outcomes import PodOutcome
from nasoa_runtime.boundary import ProbeInput
from nasoa_runtime.storage.zoo import ZooModel

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "decisions.json").read_text())


@pytest.mark.parametrize(
    "golden", [pytest.param(search, id=f"seed {search['spec']['seed']}") for search in GOLDEN["searches"]]
)
def test_a_search_takes_its_recorded_course(golden):
    simulation = Simulation(golden["spec"])
    status = simulation.end()
    assert {name: status[name] for name in golden["status"]} == golden["status"]
    assert simulation.created == golden["jobs"]
    course = simulation.course()
    assert course.keys() == golden["course"].keys()
    # Of the table only its length was recorded.
    assert len(course.pop("table")) == len(golden["course"]["table"])
    assert course == {part: figures for part, figures in golden["course"].items() if part != "table"}


@pytest.mark.parametrize(
    "golden",
    [
        pytest.param(request, id=f"{json.dumps(request['spec'])}, probe {number % 2 + 1}")
        for number, request in enumerate(GOLDEN["requests"])
    ],
)
def test_a_request_is_decided_as_recorded(golden):
    def program(pod_input, index):
        if isinstance(pod_input, ProbeInput):
            return PodOutcome(index, result=a_probe(**golden["probe"]))
        return run(pod_input, index)

    zoo = a_zoo(*(ZooModel.model_validate(model) for model in GOLDEN["zoo"]))
    simulation = RequestSimulation({"strategy": "OneShot"} | golden["spec"], program, zoo)
    assert simulation.end()["phase"] == golden["phase"]
    assert simulation.created == golden["jobs"]
    if "failed" in golden:
        assert simulation.records.failed.reason == golden["failed"]
        return
    schedule = simulation.records.schedule
    assert (schedule.candidates, schedule.planned_seconds) == (
        golden["candidates"],
        pytest.approx(golden["planned_seconds"], abs=1e-6),
    )
    for regime, (model, learning_rate, frozen_stages, steps, predicted) in zip(
        schedule.regimes, golden["regimes"], strict=True
    ):
        chosen = (regime.model, regime.learning_rate, regime.frozen_stages, regime.steps)
        assert chosen == (model, learning_rate, frozen_stages, steps)
        assert regime.predicted_accuracy == pytest.approx(predicted, abs=1e-4)
    known = [
        Taught(run["description"]["model"], values["classes"], values["iterations"], run["accuracy"])
        for run in golden["learned"]
        for values in [run["description"]["values"]]
    ]
    assert simulation.learned == [(UID, tuple(known))]
