"""What each group of features contributes to a prediction."""

import numpy as np
import pytest
from described import a_dataset, a_regime, facts

from nasoa_runtime.online.contributions import GROUPS, contributions
from nasoa_runtime.online.description import describe
from nasoa_runtime.online.regimes import Regimes
from nasoa_runtime.online.vocabulary import COLUMNS
from nasoa_runtime.online.warm_start import warm_started


def test_every_column_is_in_one_group():
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(COLUMNS)


@pytest.fixture(scope="module")
def predictor():
    return warm_started().predictor


def candidates(*regimes, models=(0,) * 99):
    return describe(
        (facts("a"), facts("b", parameters=10**8)), a_dataset(), Regimes.of(regimes, 32, models[: len(regimes)])
    )


def test_contributions_sum_to_what_is_predicted_more_than_on_average(predictor):
    runs = candidates(*(a_regime(rate, frozen) for rate in (0.001, 0.01, 0.1) for frozen in range(6)))
    predicted = predictor.predict(runs)
    for chosen in (0, 7, 17):
        shares = contributions(predictor, runs, runs.take(np.array([chosen])))
        assert sum(shares.values()) == pytest.approx(predicted[chosen] - predicted.mean(), abs=1e-6)


def test_what_all_candidates_share_contributes_nothing(predictor):
    runs = candidates(*(a_regime(rate) for rate in (0.001, 0.003, 0.01)))
    shares = contributions(predictor, runs, runs.take(np.array([2])))
    # How trees weigh a dataset's size may hang on the rate; what never differs is the batch size.
    assert shares["batch size"] == pytest.approx(0.0, abs=0.02)
    assert abs(shares["learning rate"]) > abs(shares["batch size"])


def test_of_many_candidates_a_few_are_compared_with(predictor):
    runs = candidates(*(a_regime(float(rate)) for rate in np.geomspace(1e-4, 0.3, 2000)), models=(0, 1) * 1000)
    shares = contributions(predictor, runs, runs.take(np.array([1999])))
    predicted = predictor.predict(runs)
    assert sum(shares.values()) == pytest.approx(predicted[1999] - predicted.mean(), abs=0.02)
