"""The full description of a recorded run: all that is known before it is started, and nothing that came of it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import a_curve, a_point

from nasoa_runtime.online.description import describe_rows
from nasoa_runtime.online.encoder import apply_transforms
from nasoa_runtime.online.promotion import described
from nasoa_runtime.online.rate_schedules import mean_rate
from nasoa_runtime.online.recorded_features import (
    CATEGORIES,
    NETWORK_FEATURES,
    NOT_DESCRIBED,
    QUANTITIES,
    WIDTH,
    Vocabulary,
)
from nasoa_runtime.online.records import COLUMNS

VOCABULARY = Vocabulary.of([a_point(), a_point(opt="sgd", opt_betas=None), a_point(auto_augment="v0", model="xcit")])
SHARES = st.floats(0, 1)
OUTCOMES = st.fixed_dictionaries(
    {
        "curve": st.text(max_size=4),
        "acc": SHARES,
        "best_acc": SHARES,
        "gpu_seconds": st.floats(0, 1e6),
        "final": st.booleans(),
        "status": st.sampled_from(["complete", "16h", "stopped"]),
    }
)


@given(OUTCOMES, st.text(max_size=4))
def test_no_outcome_and_no_mere_name_reaches_a_description(outcomes, dataset):
    known = a_point(opt="sgd", opt_betas=None, clip_grad=10.0)
    come_to = replace(known, dataset=dataset, **outcomes)
    np.testing.assert_array_equal(VOCABULARY.describe([come_to]), VOCABULARY.describe([known]))
    network = [apply_transforms(NETWORK_FEATURES, describe_rows(NETWORK_FEATURES, [run])) for run in (known, come_to)]
    np.testing.assert_array_equal(*network)


@given(OUTCOMES)
def test_what_a_later_point_reached_does_not_reach_the_promotion_model(outcomes):
    prefix, later = a_curve("1", 0.2, 0.3), a_point(epochs=9.0, iterations=90.0)
    expected = described(VOCABULARY, [prefix], [later])
    np.testing.assert_array_equal(described(VOCABULARY, [prefix], [replace(later, **outcomes)]), expected)


def test_every_column_is_a_quantity_a_category_or_known_to_be_left_out():
    quantities = {feature.name.partition("[")[0] for feature in QUANTITIES} - {"mean rate", "rate x iterations"}
    assert quantities | set(CATEGORIES) | set(NOT_DESCRIBED) == set(COLUMNS)
    assert not quantities & set(NOT_DESCRIBED)
    assert not set(CATEGORIES) & set(NOT_DESCRIBED)


def test_words_are_codes_and_what_is_missing_or_new_has_none():
    rows = VOCABULARY.describe([a_point(opt="sgd", opt_betas=None), a_point(opt="lion")])
    codes = dict(zip(CATEGORIES, rows[:, len(QUANTITIES) :].T, strict=True))
    assert rows.shape == (2, WIDTH)
    assert codes["model"].tolist() == [0.0, 0.0]
    assert codes["opt"][0] == 1.0
    assert math.isnan(codes["opt"][1])
    assert np.isnan(codes["auto_augment"]).all()


@pytest.mark.parametrize(
    ("changes", "rate"),
    [
        pytest.param({"warmup_epochs": 0.0, "sched": "plateau", "epochs": 30.0}, 0.01, id="constant"),
        pytest.param(
            {"warmup_epochs": 10.0, "warmup_lr": 0.0, "sched": "plateau", "epochs": 10.0}, 0.005, id="warm-up"
        ),
        pytest.param({"warmup_epochs": 0.0, "sched": "cosine", "epochs": 50.0}, 0.005, id="a whole cosine"),
        pytest.param(
            {"warmup_epochs": 0.0, "sched": "step", "decay_epochs": 10.0, "decay_rate": 0.1, "epochs": 20.0},
            0.0055,
            id="one step of two",
        ),
    ],
)
def test_the_mean_rate_follows_warm_up_and_schedule(changes, rate):
    assert mean_rate(a_point(lr=0.01, **changes)) == pytest.approx(rate)
