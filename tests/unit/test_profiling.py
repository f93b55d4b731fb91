"""Step times, the processes that measure them, and domain similarity."""

import itertools
import math
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from nasoa_runtime.boundary import Device, StepFactors, StepTime
from nasoa_runtime.pods.failures import OutOfMemoryError
from nasoa_runtime.pods.training import profiling
from nasoa_runtime.pods.training.device import Target
from nasoa_runtime.pods.training.isolation import measured
from nasoa_runtime.pods.training.profiling import OPTIONS, Option, Task, drift_factor, measure, option_factors
from nasoa_runtime.pods.training.similarity import Prototypes, similarity

TASK = Task("0-_8_1-1-1-1", classes=3, batch_size=4, image_size=16, device=Device(), low_resolution_stem=True, steps=5)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def a_row(task: Task, step_seconds: float = 0.5, frozen_stages: int = 0) -> StepTime:
    fields = {"device": "cpu", "product": "p", "count": 1, "batch_size": task.batch_size, "image_size": task.image_size}
    fields |= {"frozen_stages": frozen_stages, "channels_last": False, "precision": "fp32"}
    return StepTime.model_validate(fields | {"step_seconds": step_seconds})


# --- Figures ---------------------------------------------------------------------------------------------------------


def test_a_row_says_what_was_measured_where() -> None:
    (row,) = measure(TASK)
    assert (row.device, row.count, row.batch_size, row.image_size, row.frozen_stages) == ("cpu", 1, 4, 16, 0)
    assert (row.precision, row.channels_last, row.inference_seconds) == ("fp32", False, None)
    assert 0 < row.step_seconds < 1
    assert row.product


def test_a_table_has_a_row_for_each_number_of_frozen_stages() -> None:
    rows = list(measure(replace(TASK, frozen_stages=(0, 3, 5), choose_layout=True, with_inference=True)))
    assert [row.frozen_stages for row in rows] == [0, 3, 5]
    assert all(row.inference_seconds and row.inference_seconds < row.step_seconds for row in rows[:2])
    assert rows[2].step_seconds < rows[0].step_seconds
    assert len({(row.channels_last, row.precision) for row in rows}) == 1


@pytest.mark.parametrize(
    ("known", "seen", "factor"),
    [
        pytest.param(None, 0.1, 1.0, id="the first list"),
        pytest.param(0.1, None, 1.0, id="no anchor"),
        pytest.param(0.100, 0.102, 1.0, id="within 3 %"),
        pytest.param(0.1, 0.2, 0.5, id="a node half as fast"),
        pytest.param(0.1, 0.08, 1.25, id="a faster one"),
    ],
)
def test_drift_over_three_percent_scales_the_figures(known, seen, factor) -> None:
    assert drift_factor(known, seen) == pytest.approx(factor)


def test_every_option_is_measured_by_steps_that_are_really_done() -> None:
    factors = option_factors(replace(TASK, steps=3))
    assert list(factors) == ["adamw", "ema", "mirroring", "mixup", "rand-augment", "trivial-augment"]
    assert all(1 <= factor <= 5 for factor in factors.values())


def test_a_factor_stays_right_on_a_node_that_slows_down_meanwhile(monkeypatch) -> None:
    slowness = itertools.count(1)

    def scripted(option: Option, *_network):
        """Each turn of two steps is slower than the one before; AdamW takes half as long again as a plain step."""
        return lambda: (1.5 if option.optimizer == "adamw" else 1.0) * ((next(slowness) + 1) // 2)

    monkeypatch.setattr(profiling, "_step_with", scripted)
    assert option_factors(replace(TASK, steps=9), {"adamw": OPTIONS["adamw"]}) == {"adamw": 1.5}


def test_only_the_options_asked_for_are_measured_and_not_longer_than_is_allowed() -> None:
    factors = option_factors(replace(TASK, steps=10_000, row_seconds=0.0), {"ema": OPTIONS["ema"]})
    assert list(factors) == ["ema"]


def test_no_option_is_said_to_make_steps_faster_or_five_times_as_slow(monkeypatch) -> None:
    seconds = {"adamw": 0.9, "sgd": 1.0, "ema": 70.0}
    monkeypatch.setattr(
        profiling, "_step_with", lambda option, *_: lambda: seconds["ema" if option.ema else option.optimizer]
    )
    options = {name: OPTIONS[name] for name in ("adamw", "ema")}
    assert option_factors(replace(TASK, steps=3), options) == {"adamw": 1.0, "ema": 5.0}


@pytest.mark.parametrize(
    ("step_seconds", "turns"),
    [
        pytest.param(0.05, 23, id="quiet steps: as many as asked for, after three to warm up"),
        pytest.param(0.01, 50, id="short steps: for more than a second"),
        pytest.param(0.0001, 203, id="very short ones: not for ever"),
    ],
)
def test_the_shorter_steps_are_the_more_turns_are_taken(monkeypatch, step_seconds, turns) -> None:
    taken, clock = itertools.count(), [0.0]

    def scripted(option: Option, *_network):
        def step() -> float:
            if not option.ema:
                next(taken)
            clock[0] += step_seconds
            return step_seconds

        return step

    monkeypatch.setattr(profiling, "_step_with", scripted)
    monkeypatch.setattr(Target, "now", lambda _self: clock[0])
    assert option_factors(replace(TASK, steps=20), {"ema": OPTIONS["ema"]}) == {"ema": 1.0}
    assert next(taken) == pytest.approx(turns, abs=1)


def test_a_table_has_other_batch_sizes_and_what_options_cost() -> None:
    *rows, factors = measure(replace(TASK, frozen_stages=(0, 5), other_batch_sizes=(8,), with_factors=True))
    assert [(row.frozen_stages, row.batch_size) for row in rows] == [(0, 4), (5, 4), (0, 8)]
    assert (factors.device, factors.product, factors.count) == ("cpu", rows[0].product, 1)
    assert set(factors.factors) == set(OPTIONS)


# --- Processes -------------------------------------------------------------------------------------------------------


def test_factors_come_back_from_the_process_too() -> None:
    known = StepFactors(device="cpu", product="p", count=1, factors={"ema": 1.5})
    found = measured(TASK, 60.0, function=lambda task: [a_row(task), known])
    assert (found.rows, found.factors) == ((a_row(TASK),), known)


def test_a_network_is_measured_in_a_process_of_its_own() -> None:
    found = measured(TASK, 60.0)
    assert found.failure is None
    assert len(found.rows) == 1
    assert found.factors is None


def test_an_invalid_architecture_is_an_error_of_its_own() -> None:
    found = measured(replace(TASK, architecture="9-_8_1-1-1-1"), 60.0)
    assert (found.rows, found.failure) == ((), "Error")
    assert "architecture" in found.message


def forever(task: Task):
    yield a_row(task)
    signal.pause()


def killed(task: Task):
    yield a_row(task)
    os.kill(os.getpid(), signal.SIGKILL)


def crashed(_task: Task):
    os._exit(3)
    yield


def too_large(_task: Task):
    raise OutOfMemoryError("A training step ran out of memory")
    yield


@pytest.mark.parametrize(
    ("function", "failure", "rows"),
    [
        pytest.param(forever, "TimedOut", 1, id="hangs"),
        pytest.param(killed, "OutOfMemory", 1, id="is killed by the kernel"),
        pytest.param(crashed, "Error", 0, id="crashes"),
        pytest.param(too_large, "OutOfMemory", 0, id="does not fit"),
    ],
)
def test_a_network_that_fails_ends_alone_and_keeps_its_rows(function, failure, rows) -> None:
    limit = 0.3 if function is forever else 30.0
    seen: list[StepTime] = []
    found = measured(TASK, limit, function=function, on_row=seen.append)
    assert (found.failure, len(found.rows), len(seen)) == (failure, rows, rows)


# --- Similarity ------------------------------------------------------------------------------------------------------


def prototypes(points: list[list[float]], weights: list[float]) -> Prototypes:
    return Prototypes(np.asarray(points, dtype=np.float32), np.asarray(weights))


def test_a_domain_is_wholly_similar_to_itself() -> None:
    domain = prototypes([[0, 0], [3, 4]], [0.5, 0.5])
    assert similarity(domain, domain) == pytest.approx(1.0)


def test_similarity_falls_with_the_earth_movers_distance() -> None:
    # All of the mass moves by 5, then half of it.
    origin = prototypes([[0, 0]], [1.0])
    assert similarity(origin, prototypes([[3, 4]], [1.0])) == pytest.approx(math.exp(-0.05))
    assert similarity(origin, prototypes([[3, 4], [0, 0]], [0.5, 0.5])) == pytest.approx(math.exp(-0.025))


def test_prototypes_of_another_extractor_are_refused() -> None:
    with pytest.raises(ValueError, match="another extractor"):
        similarity(prototypes([[0, 0]], [1.0]), prototypes([[0, 0, 0]], [1.0]))


def test_prototypes_come_back_as_they_were_and_equal_ones_have_equal_bytes() -> None:
    domain = prototypes([[0, 1], [3, 4]], [0.25, 0.75])
    body = domain.to_bytes()
    again = Prototypes.from_bytes(body)
    assert np.array_equal(again.prototypes, domain.prototypes)
    assert np.array_equal(again.weights, domain.weights)
    assert again.to_bytes() == body


@pytest.mark.parametrize("body", [b"", b"\x80\x04.", prototypes([[1, 2]], [0.5, 0.5]).to_bytes()])
def test_other_content_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="not prototypes"):
        Prototypes.from_bytes(body)
