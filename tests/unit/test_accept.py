"""What admission can't see of a spec, and how it is said."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from builders import a_request, a_search

from nasoa_operator.accept import request_problems, search_problems
from nasoa_runtime.api.finetune import FineTuneRequestSpec
from nasoa_runtime.api.search import NASSearchSpec


def problems_of_search(**overrides):
    return search_problems(NASSearchSpec.model_validate(a_search(**overrides)["spec"]))


def test_the_least_search_is_accepted():
    assert problems_of_search() == []


def test_a_search_with_good_architectures_and_blocks_is_accepted():
    macro = {"initialArchitectures": ["031-_32_1-1-221-11121"], "candidateBlocks": ["02031-a02", "211-"]}
    assert problems_of_search(macroPhase=macro) == []


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        pytest.param(
            "031-c02_16_1-2-2-2",
            ["c02", "the last node can't be concatenated to", "leave it out"],
            id="concatenation onto the last node",
        ),
        pytest.param("301-_2_1-1-2-2", ["0.5 channels", "more first channels"], id="half a channel"),
        pytest.param("0-a01_16_1-2-2-2", ["a01", "always there"], id="the fixed residual written"),
        pytest.param("211-_6_1-2-2-2", ["layer 1", "groups"], id="channels not divisible by the groups"),
    ],
)
def test_an_invalid_architecture_is_named_with_its_place_and_what_to_write(encoding, words):
    macro = {"initialArchitectures": ["031-_32_1-1-221-11121", encoding]}
    (problem,) = problems_of_search(macroPhase=macro)
    assert problem.reason == "InvalidArchitecture"
    for word in [f"spec.macroPhase.initialArchitectures[1] {encoding!r}", *words]:
        assert word in problem.message


def test_a_block_that_does_not_fit_every_multiplier_is_named():
    (problem,) = problems_of_search(macroPhase={"candidateBlocks": ["031-c02"]})
    assert problem.reason == "InvalidArchitecture"
    assert problem.message.startswith("spec.macroPhase.candidateBlocks[0] '031-c02': ")


def test_one_network_in_two_spellings_is_refused():
    macro = {"initialArchitectures": ["02031-a13a02_16_1-2-2-2", "02031-a02a13_16_1-2-2-2"]}
    (problem,) = problems_of_search(macroPhase=macro)
    assert "is the same network as [0]; remove one of them" in problem.message


def test_bounds_that_no_macro_structure_meets_are_named():
    (problem,) = problems_of_search(space={"minWidening": 255, "maxWidening": 255})
    assert problem.reason == "InvalidSpace"
    assert "whose product is 255 to 255; widen these bounds" in problem.message


def test_operations_that_fit_no_block_of_the_small_network_are_named():
    (problem,) = problems_of_search(space={"operations": [5]})
    assert problem.reason == "InvalidSpace"
    assert "raise firstChannels or allow other operations" in problem.message


def problems_of_request(names, **pins):
    models = [SimpleNamespace(name=name) for name in names]
    return request_problems(FineTuneRequestSpec.model_validate(a_request(pins=pins)["spec"]), models)


def test_a_request_without_pins_is_accepted_by_any_zoo():
    assert problems_of_request([]) == []


def test_a_pin_that_the_zoo_has_is_accepted():
    assert problems_of_request(["fashion-0", "fashion-1"], model="fashion-1") == []


def test_a_pin_that_the_zoo_lacks_is_answered_with_what_it_has():
    (problem,) = problems_of_request(["fashion-1", "fashion-0"], model="fashon-0")
    assert problem.reason == "PinNotInZoo"
    assert problem.message == (
        "spec.pins.model: zoo fashion has no model 'fashon-0' (did you mean fashion-0?); it has fashion-0, fashion-1."
        " Leave pins.model out to let the predictor choose"
    )


def test_a_big_zoo_is_not_listed_whole():
    (problem,) = problems_of_request([f"m-{i:03d}" for i in range(200)], model="resnet")
    assert "m-009 and 190 more" in problem.message
    assert len(problem.message) < 400
