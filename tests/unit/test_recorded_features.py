"""Recorded runs described as our own are: all that is known before one is started, and nothing that came of it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import a_point

from nasoa_runtime.online import recorded_features
from nasoa_runtime.online.encoder import apply_transforms
from nasoa_runtime.online.features import NETWORK_FEATURES, NUMBERS, RUN_WORDS
from nasoa_runtime.online.rate_schedules import mean_rate, rate_now
from nasoa_runtime.online.recorded_features import NOT_DESCRIBED, described
from nasoa_runtime.online.records import COLUMNS as FILE_COLUMNS
from nasoa_runtime.online.vocabulary import COLUMNS, Vocabulary

VOCABULARY = Vocabulary.of(
    described([a_point(), a_point(opt="sgd", opt_betas=None), a_point(auto_augment="v0", model="xcit")])
)
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
    np.testing.assert_array_equal(VOCABULARY.encode(described([come_to])), VOCABULARY.encode(described([known])))
    network = [apply_transforms(NETWORK_FEATURES, described([run])) for run in (known, come_to)]
    np.testing.assert_array_equal(*network)


class Asked:
    """Rows that remember which of their columns were read."""

    def __init__(self, rows, read):
        self._rows, self._read = rows, read

    def __getattr__(self, name):
        self._read.add(name)
        return getattr(self._rows, name)


def test_every_column_of_a_file_is_described_or_known_to_be_left_out(monkeypatch):
    read = set()
    rows_of = recorded_features.describe_rows.__globals__["RowColumns"]
    monkeypatch.setitem(
        recorded_features.describe_rows.__globals__, "RowColumns", lambda rows: Asked(rows_of(rows), read)
    )
    described([a_point()])
    assert read | set(NOT_DESCRIBED) == set(FILE_COLUMNS)
    assert not read & set(NOT_DESCRIBED)


def test_words_are_codes_and_what_is_missing_or_new_has_none():
    rows = VOCABULARY.encode(described([a_point(opt="momentum", opt_betas=None), a_point(opt="lion")]))
    codes = dict(zip([word.name for word in RUN_WORDS], rows[:, len(NUMBERS) :].T, strict=True))
    assert rows.shape == (2, len(COLUMNS))
    assert codes["architecture"].tolist() == [0.0, 0.0]
    assert codes["optimizer"][0] == 1.0
    assert math.isnan(codes["optimizer"][1])


@pytest.mark.parametrize(
    ("changes", "name", "value"),
    [
        pytest.param({"opt": "momentum", "opt_betas": None, "momentum": 0.8}, "momentum", 0.8, id="momentum acts"),
        pytest.param({"opt": "sgd", "opt_betas": None, "momentum": 0.8}, "momentum", 0.0, id="plain sgd has none"),
        pytest.param({"opt": "adamw", "opt_betas": (0.0, 0.99)}, "momentum", 0.0, id="Adam's first beta"),
        pytest.param({"opt": "adamw", "opt_betas": (0.0, 0.99)}, "second_beta", 0.99, id="Adam's second beta"),
        pytest.param({"opt": "sgd", "opt_betas": None}, "second_beta", None, id="no second beta"),
        pytest.param({"layer_decay": None}, "layer_decay", 1.0, id="no layer decay"),
        pytest.param({"sched": "cosine", "decay_epochs": 20.0}, "decay_epochs", None, id="a cosine has no steps"),
        pytest.param({"sched": "step", "decay_epochs": 20.0}, "decay_epochs", 20.0, id="steps"),
        pytest.param({"data_augmentation": "none", "ra_magnitude": 8.0}, "augment_magnitude", None, id="no magnitude"),
        pytest.param({"pct_to_freeze": 0.6}, "frozen_stages", 3.0, id="shares of layers are stages"),
    ],
)
def test_what_does_not_act_is_missing_and_names_mean_what_they_mean_for_our_own_runs(changes, name, value):
    assert described([a_point(**changes)]).descriptions()[0].values[name] == pytest.approx(value)


@pytest.mark.parametrize(
    ("changes", "rate", "now"),
    [
        pytest.param({"warmup_epochs": 0.0, "sched": "plateau", "epochs": 30.0}, 0.01, 1.0, id="constant"),
        pytest.param(
            {"warmup_epochs": 10.0, "warmup_lr": 0.0, "sched": "plateau", "epochs": 10.0}, 0.005, 1.0, id="warm-up"
        ),
        pytest.param({"warmup_epochs": 0.0, "sched": "cosine", "epochs": 50.0}, 0.005, 0.0, id="a whole cosine"),
        pytest.param(
            {"warmup_epochs": 0.0, "sched": "step", "decay_epochs": 10.0, "decay_rate": 0.1, "epochs": 20.0},
            0.0055,
            0.01,
            id="one step of two",
        ),
    ],
)
def test_the_rate_follows_warm_up_and_schedule(changes, rate, now):
    point = a_point(lr=0.01, **changes)
    runs = described([replace(point, iterations=point.epochs * point.n_train / point.batch_size)])
    assert mean_rate(runs)[0] == pytest.approx(rate)
    assert rate_now(runs)[0] == pytest.approx(now, abs=1e-9)
