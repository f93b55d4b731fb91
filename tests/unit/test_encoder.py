"""Encoding runs: standardisation, missing values, models' columns."""

import numpy as np
import pytest
from described import a_dataset, a_run, batch, facts
from hypothesis import given
from hypothesis import strategies as st

from nasoa_runtime.online.description import Batch
from nasoa_runtime.online.encoder import MODEL_VALUE, Encoder
from nasoa_runtime.online.errors import InvalidDescription
from nasoa_runtime.online.features import PAPER_FEATURES, Feature

ONE_FEATURE = (Feature("x", "linear", 0.0, 1.0, of="row"),)


def encoded(encoder, *runs):
    return encoder.encode(batch(*runs))


def observing(encoder, *runs):
    return encoder.observe(encoder.transform(batch(*runs)))


def column(encoder, name):
    return encoder.layout.index(name)


def with_value(name, value):
    run = a_run()
    return run.model_copy(update={"values": run.values | {name: value}})


def test_the_layout_names_features_then_indicators_then_models():
    encoder = Encoder.new(PAPER_FEATURES).grow("a").grow("b")
    assert encoder.layout == (
        "source_accuracy",
        "parameters",
        "macs",
        "domain_similarity",
        "classes",
        "images_per_class_mean",
        "images_per_class_std",
        "iterations",
        "learning_rate",
        "frozen_stages",
        "source_accuracy:missing",
        "parameters:missing",
        "macs:missing",
        "domain_similarity:missing",
        "model=a",
        "model=b",
    )
    assert encoder.width == len(encoder.layout)


def test_a_model_is_one_column_and_an_unknown_one_none():
    encoder = Encoder.new(PAPER_FEATURES).grow("a").grow("b")
    rows = encoded(encoder, a_run("b"), a_run("new"), a_run("a"))
    np.testing.assert_array_equal(rows[:, -2:], [[0, MODEL_VALUE], [0, 0], [MODEL_VALUE, 0]])


def test_a_model_gets_its_column_only_once():
    with pytest.raises(ValueError, match="already has a column"):
        Encoder.new(PAPER_FEATURES).grow("a").grow("a")


def test_a_missing_value_is_the_running_mean_with_an_indicator():
    similar, unlike = a_run(facts(domain_similarity=0.2)), a_run(facts(domain_similarity=None))
    encoder = observing(Encoder.new(PAPER_FEATURES), similar, unlike)
    row = encoded(encoder, unlike)[0]
    assert row[column(encoder, "domain_similarity")] == 0.0
    assert row[column(encoder, "domain_similarity:missing")] == 1.0
    assert row[column(encoder, "source_accuracy:missing")] == 0.0
    assert encoder.counts[column(encoder, "domain_similarity")] == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("iterations", 0.0, id="logarithm of zero"),
        pytest.param("learning_rate", -0.1, id="logarithm of a negative number"),
        pytest.param("classes", None, id="missing though required"),
        pytest.param("source_accuracy", float("inf"), id="infinite"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name, value):
    with pytest.raises(InvalidDescription, match=f"'{name}' has a value that can't be used") as raised:
        encoded(Encoder.new(PAPER_FEATURES), with_value(name, value))
    assert raised.value.feature == name


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40))
def test_running_statistics_equal_those_of_all_values_at_once(values):
    encoder = Encoder.new(ONE_FEATURE)
    encoder = encoder.observe(np.array(values)[:, None])
    assert encoder.counts[0] == len(values)
    assert encoder.means[0] == pytest.approx(np.mean(values), abs=1e-9)
    assert encoder.squares[0] == pytest.approx(np.var(values) * len(values), abs=1e-5)


def test_standardisation_ends_up_at_the_data_wherever_it_started():
    values = np.random.default_rng(0).normal(50.0, 3.0, size=(4000, 1))
    encoder = Encoder.new(ONE_FEATURE).observe(values)
    runs = Batch({"x": np.array([50.0, 53.0])}, ("m",), np.zeros(2, np.int64))
    np.testing.assert_allclose(encoder.encode(runs)[:, 0], [0.0, 1.0], atol=0.2)


def test_an_extreme_value_is_cut_to_four_deviations():
    encoder = Encoder.new(PAPER_FEATURES)
    row = encoded(encoder, a_run(iterations=10**12))[0]
    assert row[column(encoder, "iterations")] == 4.0


def test_observing_leaves_the_old_encoder_alone():
    encoder = Encoder.new(PAPER_FEATURES)
    observing(encoder, a_run())
    assert encoder.counts.sum() == 0


def test_a_feature_spanning_decades_enters_by_its_logarithm():
    encoder = Encoder.new(PAPER_FEATURES)
    rows = encoded(encoder, *(a_run(learning_rate=rate) for rate in (0.001, 0.01, 0.1)))
    low, middle, high = rows[:, column(encoder, "learning_rate")]
    assert high - middle == pytest.approx(middle - low, abs=1e-6)


def test_the_number_of_classes_enters_by_its_logarithm():
    encoder = Encoder.new(PAPER_FEATURES)
    rows = encoded(encoder, *(a_run(dataset=a_dataset(classes)) for classes in (5, 10, 20)))
    low, middle, high = rows[:, column(encoder, "classes")]
    assert high - middle == pytest.approx(middle - low, abs=1e-6)
