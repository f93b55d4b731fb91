"""The generator: what fits in T_l, how it is ranked, and what is said when nothing fits."""

import dataclasses

import pytest
from described import a_dataset, a_record, a_run, an_outcome, batch, facts
from hypothesis import given, settings
from hypothesis import strategies as st

from nasoa_runtime.online.candidates import (
    Grid,
    ModelChoice,
    NothingFits,
    Overheads,
    Request,
    Suggestion,
)
from nasoa_runtime.online.generator import suggest
from nasoa_runtime.online.state import PredictorState

DATASET = a_dataset(images_per_class=80.0, images_per_class_std=4.0)
FREE = Overheads(startup_seconds=0.0, upload_seconds=0.0, validations=0, margin=0.0)


def a_model(name="a", step_seconds=None, inference_seconds_per_image=0.01, parameters=4_000_000):
    known = facts(name, parameters=parameters, macs=None)
    return ModelChoice(known, step_seconds or {0: 0.2, 5: 0.1}, inference_seconds_per_image, batch_size=16)


def unmeasured():
    """A model without any row."""
    return ModelChoice(facts("bare"), {}, 0.0)


def with_parameters(state, **changes):
    """The state with some of its network's parameters changed by functions."""
    network = state.predictor.network
    parameters = network.dump()
    parameters |= {name: change(parameters[name]) for name, change in changes.items()}
    changed = dataclasses.replace(state.predictor, network=network.load(parameters, 0.01, 0.99))
    return dataclasses.replace(state, predictor=changed)


def telling_nothing_apart(*models):
    """A predictor that predicts 0.3 for everything."""
    return with_parameters(PredictorState.new("adaptive-mlp", models=models), head=lambda head: 0 * head)


def a_request(**changes):
    return dataclasses.replace(Request(time_limit_seconds=100.0, batch_size=16), **changes)


def planned(request=None, models=None, overheads=FREE, predictor=None, grid=None, **more):
    return suggest(
        request or a_request(),
        models or [a_model()],
        DATASET,
        overheads,
        predictor or PredictorState.new("adaptive-mlp"),
        grid or Grid(),
        **more,
    )


def everything(outcome):
    assert isinstance(outcome, Suggestion), outcome
    return [outcome.chosen, *outcome.runners_up]


def test_the_largest_number_of_iterations_follows_from_the_step_time():
    schedule = planned(grid=Grid(frozen_stages=(0,), learning_rates=(0.01,)), runners_up=9)
    assert schedule.candidates == 4
    overheads = Overheads(10.0, 5.0, loading_seconds_per_image=0.005, step_correction=1.5, validations=2, margin=0)
    # A step: 0.2 * 1.5 + 16 * 0.005 = 0.38 s. Beside steps: 10 + 5 + 400 * (0.01 * 1.5 + 0.005) = 23 s. 77 / 0.38.
    schedule = planned(overheads=overheads, grid=Grid(frozen_stages=(0,), learning_rates=(0.01,), fractions=(1.0,)))
    assert schedule.chosen.iterations == 202
    assert schedule.chosen.step_seconds == pytest.approx(0.38)
    assert schedule.chosen.seconds == pytest.approx(23 + 202 * 0.38)


def test_the_grid_is_models_times_rates_times_frozen_stages_times_fractions():
    grid = Grid(frozen_stages=(0, 1, 5))
    models = [a_model("a"), a_model("b", {0: 0.1, 1: 0.1, 5: 0.05})]
    # "a" has no step time with one frozen stage.
    assert planned(models=models, grid=grid).candidates == (2 + 3) * 5 * 4


def test_epochs_are_capped():
    grid = Grid(frozen_stages=(5,), fractions=(1.0,), most_epochs=2.0)
    assert planned(grid=grid).chosen.iterations == 2 * 800 // 16


def test_fractions_of_few_iterations_are_not_repeated():
    grid = Grid(frozen_stages=(0,), learning_rates=(0.01,), least_steps=4)
    request = a_request(time_limit_seconds=0.2 * 8)
    schedule = planned(request, grid=grid)
    assert schedule.candidates == 2  # 8, and 4 for all smaller fractions.


@pytest.mark.parametrize(
    ("pin", "read"),
    [
        pytest.param({"model": "b"}, lambda candidate: candidate.model == "b", id="model"),
        pytest.param(
            {"learning_rate": 0.0123},
            lambda candidate: candidate.learning_rate == 0.0123,
            id="a learning rate outside the grid",
        ),
        pytest.param({"frozen_stages": 5}, lambda candidate: candidate.frozen_stages == 5, id="frozen stages"),
        pytest.param({"steps": 77}, lambda candidate: candidate.iterations == 77, id="steps"),
    ],
)
def test_pins_are_obeyed(pin, read):
    for candidate in everything(planned(a_request(**pin), [a_model("a"), a_model("b"), a_model("c")])):
        assert read(candidate)


def test_pins_of_everything_leave_one_candidate():
    request = a_request(model="b", learning_rate=0.5, frozen_stages=0, steps=9)
    schedule = planned(request, [a_model("a"), a_model("b")])
    assert (schedule.candidates, schedule.runners_up) == (1, ())
    assert schedule.chosen.seconds == pytest.approx(9 * 0.2)


def test_models_over_the_limits_are_not_chosen():
    models = [
        a_model("big", parameters=9_000_000),
        a_model("slow", inference_seconds_per_image=0.02),
        a_model("unknown", parameters=None),
        a_model("fits"),
    ]
    request = a_request(most_parameters=5_000_000, most_inference_milliseconds=15.0)
    assert {candidate.model for candidate in everything(planned(request, models))} == {"fits"}


def test_a_model_that_ran_out_of_memory_is_not_chosen_again():
    request = a_request(infeasible=frozenset({"a"}))
    assert {c.model for c in everything(planned(request, [a_model("a"), a_model("b")]))} == {"b"}


def test_runners_up_differ_and_include_another_model():
    predictor = PredictorState.new("adaptive-mlp", models=["a", "b"])
    for index in range(80):
        accuracy = {"a": 0.95, "b": 0.1}["ab"[index % 2]]
        outcome = an_outcome(
            accuracy, model=a_model("ab"[index % 2]).facts, dataset=DATASET, frozen_stages=0, iterations=500
        )
        predictor = predictor.update(a_record(f"{index}", outcome))
    schedule = planned(models=[a_model("a"), a_model("b")], predictor=predictor)
    regimes = [(c.model, c.learning_rate, c.frozen_stages) for c in everything(schedule)]
    assert len(set(regimes)) == len(regimes) == 6
    assert schedule.chosen.model == "a"
    assert {c.model for c in schedule.runners_up} == {"a", "b"}
    assert schedule.predictor_version == 80


def test_of_equal_predictions_the_cheapest_is_taken_then_the_first_by_name():
    predictor = telling_nothing_apart("a", "b", "c")
    models = [a_model("c", {0: 0.2}), a_model("b", {0: 0.2}), a_model("a", {0: 0.5})]
    grid = Grid(learning_rates=(0.1, 0.01))
    chosen = planned(a_request(steps=10), models, predictor=predictor, grid=grid).chosen
    assert (chosen.model, chosen.learning_rate) == ("b", 0.1)
    assert chosen.predicted_accuracy == pytest.approx(0.3)


def test_learning_rates_that_are_not_told_apart_take_turns_from_the_middle_outwards():
    predictor = telling_nothing_apart("a")
    chosen = [planned(predictor=dataclasses.replace(predictor, version=n)).chosen.learning_rate for n in range(6)]
    assert chosen == [0.01, 0.03, 0.003, 0.1, 0.001, 0.01]


def test_the_order_of_models_does_not_matter():
    models = [a_model(name, {0: 0.1 + i / 50}) for i, name in enumerate("abcdef")]
    assert planned(models=models) == planned(models=models[::-1])


def test_what_is_predicted_is_what_will_be_learned_from():
    predictor = PredictorState.new("adaptive-mlp", models=["a"])
    chosen = planned(predictor=predictor).chosen
    run = a_run(a_model().facts, DATASET, chosen.learning_rate, chosen.frozen_stages, chosen.iterations)
    assert predictor.predict(batch(run))[0] == pytest.approx(chosen.predicted_accuracy, abs=1e-5)


def test_a_pinned_model_that_the_zoo_lacks_is_named_with_those_it_has():
    outcome = planned(a_request(model="resnet"), [a_model("a"), a_model("b")])
    assert outcome == NothingFits("UnknownModel", "the zoo has no model 'resnet'; it has: a, b")


def test_limits_that_no_model_meets_are_named():
    outcome = planned(a_request(most_parameters=1000))
    assert outcome == NothingFits("NoModelWithinLimits", "no model of the zoo is left with at most 1000 parameters")


def test_frozen_stages_without_step_time_are_no_candidate():
    outcome = planned(a_request(frozen_stages=3))
    assert isinstance(outcome, NothingFits)
    assert outcome.reason == "NothingMeasured"


def test_a_grid_of_frozen_stages_that_nothing_is_known_of_is_told_what_to_write():
    outcome = planned(a_request(frozen_stages=3))
    assert outcome.field == "spec.pins.frozenStages"
    outcome = planned(grid=Grid(frozen_stages=(2, 3)))
    assert (outcome.reason, outcome.field) == ("NothingMeasured", "spec.grid.frozenStages")
    assert "write 0 or 5, which are known, or allow more time" in outcome.message


def test_a_device_that_nothing_is_known_of_is_named():
    outcome = planned(models=[unmeasured()])
    assert (outcome.reason, outcome.field) == ("NothingMeasured", None)
    assert outcome.message.startswith("the zoo's table has no step time for this device, and 100 s are too short")


def test_the_least_time_limit_is_said_in_whole_seconds():
    overheads = Overheads(startup_seconds=20.0, upload_seconds=2.0, validations=0, margin=0.0)
    outcome = planned(a_request(time_limit_seconds=5.0), overheads=overheads)
    # Head only: 22 s and four steps of 0.1 s.
    assert outcome.least_seconds == pytest.approx(22.4)
    assert outcome.message == "nothing fits in 5 s: the least time limit is 23 s"


seconds = st.floats(1e-4, 50.0)
zoos = st.lists(st.dictionaries(st.integers(0, 5), seconds, min_size=1, max_size=6), min_size=1, max_size=4).map(
    lambda tables: [a_model(f"m{index}", table) for index, table in enumerate(tables)]
)
some_overheads = st.builds(
    Overheads,
    startup_seconds=st.floats(0, 60),
    upload_seconds=st.floats(0, 10),
    loading_seconds_per_image=st.floats(0, 0.1),
    step_correction=st.floats(0.2, 5.0),
    validations=st.integers(0, 5),
    margin=st.floats(0, 0.2),
)
some_requests = st.builds(
    Request,
    time_limit_seconds=st.floats(0.001, 5000),
    batch_size=st.integers(1, 256),
    learning_rate=st.none() | st.floats(1e-5, 1.0),
    frozen_stages=st.none() | st.integers(0, 5),
    steps=st.none() | st.integers(1, 500),
)
UNTRAINED = PredictorState.new("adaptive-mlp")


@given(request=some_requests, models=zoos, overheads=some_overheads)
@settings(max_examples=150, deadline=None)
def test_whatever_is_planned_obeys_the_time_limit_and_the_pins(request, models, overheads):
    outcome = planned(request, models, overheads, UNTRAINED)
    if isinstance(outcome, NothingFits):
        return
    for candidate in everything(outcome):
        assert candidate.seconds <= request.time_limit_seconds * (1 - overheads.margin)
        assert request.steps in {None, candidate.iterations}
        assert request.frozen_stages in {None, candidate.frozen_stages}
        assert request.learning_rate in {None, candidate.learning_rate}
        assert 0.0 <= candidate.predicted_accuracy <= 1.0


@given(request=some_requests, models=zoos, overheads=some_overheads)
@settings(max_examples=150, deadline=None)
def test_the_least_time_limit_is_enough_and_the_least(request, models, overheads):
    outcome = planned(dataclasses.replace(request, time_limit_seconds=1e-6), models, overheads, UNTRAINED)
    if isinstance(outcome, NothingFits) and outcome.reason == "NothingMeasured":
        return
    assert isinstance(outcome, NothingFits)
    enough = dataclasses.replace(request, time_limit_seconds=outcome.least_seconds)
    assert isinstance(planned(enough, models, overheads, UNTRAINED), Suggestion)
    less = dataclasses.replace(request, time_limit_seconds=outcome.least_seconds * (1 - 1e-9))
    assert isinstance(planned(less, models, overheads, UNTRAINED), NothingFits)


@pytest.mark.parametrize(
    "change",
    [{"learning_rates": ()}, {"fractions": (0.0,)}, {"fractions": (2.0,)}, {"least_steps": 0}],
)
def test_a_grid_without_candidates_is_refused(change):
    with pytest.raises(ValueError, match="the grid"):
        Grid(**change)


def test_predictions_rank_by_what_is_above_one_too():
    """Clipping is for people: of two candidates beyond 1 the better one is taken, though it costs more."""
    predictor = PredictorState.new("adaptive-mlp", models=["a", "b"])
    grid = Grid(learning_rates=(0.01,), frozen_stages=(0,), fractions=(1.0,))
    models = [a_model("a", {0: 0.2}), a_model("b", {0: 0.5})]
    for index in range(40):
        for model, accuracy in zip(models, (0.2, 1.0), strict=True):
            outcome = an_outcome(accuracy, model=model.facts, dataset=DATASET, frozen_stages=0, iterations=500)
            predictor = predictor.update(a_record(f"{index}-{model.name}", outcome))
    predictor = with_parameters(predictor, head_bias=lambda bias: bias + 2.0)
    chosen = planned(a_request(steps=50), models, predictor=predictor, grid=grid).chosen
    assert (chosen.model, chosen.predicted_accuracy) == ("b", 1.0)
