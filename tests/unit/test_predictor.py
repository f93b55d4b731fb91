"""The adaptive MLP: its equations, its speed of growth and its way to bytes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasoa_runtime.online.algorithms import PREDICTORS, learned, load_predictor, make_predictor
from nasoa_runtime.online.errors import UnreadableState
from nasoa_runtime.online.hedge import hedge, regret_beta
from nasoa_runtime.online.predictor import AdaptiveMLP, FixedMLP, as_accuracies


def some_features(rows=1, inputs=7, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, inputs)).astype(np.float32)


def plain_update(parameters, x, y, eta=0.01, beta=0.99):
    """The paper's equations head by head in float64: one backward pass for each of the L losses, then their sum."""
    p = {name: value.astype(np.float64) for name, value in parameters.items()}
    depth = p["head"].shape[0]
    matrices = [p["first"], *p["phi"]]
    hidden = [x.astype(np.float64)]
    for matrix, bias in zip(matrices, p["phi_bias"], strict=True):
        hidden.append(np.maximum(matrix @ hidden[-1] + bias, 0.0))
    outputs = np.array([hidden[k + 1] @ p["head"][k] + p["head_bias"][k] for k in range(depth)])
    new_matrices = [matrix.copy() for matrix in matrices]
    new = {name: value.copy() for name, value in p.items()}
    for j in range(depth):
        scale = p["alpha"][j] * 2 * (outputs[j] - y)
        new["head"][j] -= eta * scale * hidden[j + 1]
        new["head_bias"][j] -= eta * scale
        back = scale * p["head"][j] * (hidden[j + 1] > 0)
        for k in range(j, -1, -1):
            new_matrices[k] -= eta * np.outer(back, hidden[k])
            new["phi_bias"][k] -= eta * back
            if k:
                back = (matrices[k].T @ back) * (hidden[k] > 0)
    new["alpha"] = p["alpha"] * beta ** np.clip((outputs - y) ** 2, 0, 1)
    new["alpha"] /= new["alpha"].sum()
    new["first"], new["phi"] = new_matrices[0], np.array(new_matrices[1:]).reshape(p["phi"].shape)
    return new


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(AdaptiveMLP(7, seed=3), id="ten adaptive layers"),
        pytest.param(AdaptiveMLP(7, seed=3, depth=1, units=5), id="one layer"),
        pytest.param(AdaptiveMLP(7, seed=1, depth=3, units=4), id="three narrow layers"),
    ],
)
def test_one_backward_pass_equals_the_sum_over_heads(network):
    for step in range(3):
        x, y = some_features(seed=step)[0], 0.2 + 0.3 * step
        expected = plain_update(network.dump(), x, y)
        network.update(x, y)
        for name, value in network.dump().items():
            np.testing.assert_allclose(value, expected[name], rtol=2e-4, atol=2e-6, err_msg=name)


def test_a_fixed_mlp_is_gradient_descent_on_its_last_head_alone():
    network = FixedMLP(3, 7, seed=2)
    x = some_features()[0]
    before = network.dump()
    expected = plain_update(before, x, 0.9, beta=1.0)
    network.update(x, 0.9)
    after = network.dump()
    np.testing.assert_allclose(after["phi"], expected["phi"], rtol=2e-4, atol=2e-6)
    np.testing.assert_array_equal(after["head"][:2], before["head"][:2])
    np.testing.assert_array_equal(network.alpha, [0.0, 0.0, 1.0])


def test_heads_start_at_three_tenths_and_alpha_uniform():
    network = AdaptiveMLP(7)
    np.testing.assert_array_equal(network.dump()["head_bias"], np.full(10, 0.3, np.float32))
    np.testing.assert_allclose(network.alpha, np.full(10, 0.1))


def test_a_loss_above_one_counts_as_one_for_alpha_but_not_for_the_gradient():
    parameters = AdaptiveMLP(1, depth=2, units=1).dump()
    parameters["first"][:] = 1.0
    parameters["phi"][:] = 1.0
    parameters["head"][:] = [[3.0], [1.0]]
    parameters["head_bias"][:] = 0.0
    network = AdaptiveMLP.load(parameters, eta=0.01, beta=0.99)
    network.update(np.array([1.0], np.float32), 1.0)
    # The first head says 3 (loss 4, clipped to 1), the second 1 (loss 0).
    np.testing.assert_allclose(network.alpha, [0.99 / 1.99, 1 / 1.99])
    # dloss/dW = 2 (3 - 1) 1 = 4, times alpha 0.5 and eta 0.01.
    np.testing.assert_allclose(network.dump()["head"], [[2.98], [1.0]], rtol=1e-6)


@given(
    accuracies=st.lists(st.sampled_from([0.0, 0.01, 0.5, 1.0]), min_size=1, max_size=60),
    name=st.sampled_from(PREDICTORS),
    seed=st.integers(0, 5),
)
@settings(max_examples=30, deadline=None)
def test_predictions_stay_accuracies_and_alpha_a_distribution(accuracies, name, seed):
    network = make_predictor(name, 7, seed)
    rows = some_features(len(accuracies), seed=seed)
    for row, accuracy in zip(rows, accuracies, strict=True):
        network = learned(network, row, accuracy)
    predicted = as_accuracies(network.predict(rows))
    assert ((predicted >= 0) & (predicted <= 1)).all()
    assert network.alpha.sum() == pytest.approx(1.0)
    assert (network.alpha >= 0).all()


@pytest.mark.parametrize("name", PREDICTORS)
def test_predicting_changes_nothing(name):
    network = make_predictor(name, 7)
    before = network.dump()
    first = network.predict(some_features(1300))
    np.testing.assert_array_equal(first, network.predict(some_features(1300)))
    for key, value in network.dump().items():
        np.testing.assert_array_equal(value, before[key])


def test_rows_are_predicted_alike_alone_and_among_thousands():
    network = AdaptiveMLP(7)
    rows = some_features(1300)
    alone = np.array([network.predict(rows[index : index + 1])[0] for index in (0, 511, 512, 1299)])
    np.testing.assert_allclose(network.predict(rows)[[0, 511, 512, 1299]], alone, atol=1e-5)


def test_no_rows_give_no_predictions():
    assert AdaptiveMLP(7).predict(np.empty((0, 7))).shape == (0,)


def test_growing_by_columns_changes_no_prediction():
    network = AdaptiveMLP(7)
    network.update(some_features()[0], 0.8)
    before = network.predict(some_features(20))
    network.grow(2)
    wider = np.hstack([some_features(20), np.full((20, 2), 8.0, np.float32)])
    np.testing.assert_allclose(network.predict(wider), before, atol=1e-6)
    network.update(wider[0], 0.1)
    assert network.inputs == 9


def test_a_copy_learns_on_its_own():
    network = AdaptiveMLP(7)
    before = network.predict(some_features(5))
    network.copy().update(some_features()[0], 1.0)
    np.testing.assert_array_equal(network.predict(some_features(5)), before)


def test_the_same_seed_gives_the_same_network_and_another_seed_another():
    rows = some_features(5)
    np.testing.assert_array_equal(AdaptiveMLP(7, 4).predict(rows), AdaptiveMLP(7, 4).predict(rows))
    assert not np.array_equal(AdaptiveMLP(7, 4).predict(rows), AdaptiveMLP(7, 5).predict(rows))


def test_it_learns_a_rule_that_is_there():
    network = AdaptiveMLP(7, input_energy=70)
    rows = some_features(6000, seed=1)
    accuracies = np.where(rows[:, 0] > rows[:, 1], 0.9, 0.1)
    for row, accuracy in zip(rows, accuracies, strict=True):
        network.update(row, float(accuracy))
    fresh = some_features(500, seed=2)
    right = (network.predict(fresh) > 0.5) == (fresh[:, 0] > fresh[:, 1])
    assert right.mean() > 0.9


def test_an_outcome_that_would_make_the_network_diverge_is_left_out():
    network = FixedMLP(14, 7)
    for _ in range(50):
        for row in 40 * some_features(4):
            network = learned(network, row, 0.5)
    assert np.isfinite(network.predict(some_features(50))).all()
    assert all(np.isfinite(value).all() for value in network.dump().values())


@pytest.mark.parametrize("accuracy", [-0.01, 1.7, float("nan")])
def test_an_accuracy_outside_zero_to_one_is_refused(accuracy):
    with pytest.raises(ValueError, match="accuracy must lie in"):
        AdaptiveMLP(7).update(some_features()[0], accuracy)


def test_an_outcome_that_is_not_finite_leaves_the_network_as_it_was():
    network = AdaptiveMLP(7)
    before = network.dump()
    with pytest.raises(FloatingPointError):
        network.update(np.full(7, np.nan, np.float32), 0.5)
    for key, value in network.dump().items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize("name", ["adaptive", "fixed-mlp-0", "fixed-mlp-", "fixed-mlp-100", ""])
def test_an_unknown_name_is_refused_with_what_to_write(name):
    with pytest.raises(ValueError, match="write adaptive-mlp or fixed-mlp-L"):
        make_predictor(name, 7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda p: p.pop("phi"), "'phi' of the predictor is missing", id="missing"),
        pytest.param(lambda p: p.update(head=p["head"][:3]), "'head' must be", id="shape"),
        pytest.param(lambda p: p["head"].fill(np.nan), "'head' is not finite", id="not finite"),
        pytest.param(lambda p: p["alpha"].fill(0.5), "sum to 1", id="alpha"),
    ],
)
def test_parameters_that_do_not_fit_are_named(change, message):
    parameters = AdaptiveMLP(7).dump()
    change(parameters)
    with pytest.raises(UnreadableState, match=message):
        load_predictor("adaptive-mlp", parameters, 7)


@pytest.mark.parametrize(("outcomes", "beta"), [(1, 0.5), (81, 0.9), (9801, 0.99)])
def test_the_discount_of_theorem_1(outcomes, beta):
    assert regret_beta(outcomes) == pytest.approx(beta)


OUTCOMES, EXPERTS = 2500, 10
BOUND = 167.5
"""Of the regret after 2,500 outcomes with ten experts. A hedge pays at most (ln(1/beta) L + ln N) / (1 - beta), L being
what the best expert pays (Freund and Schapire, 1997), which with beta = sqrt(T) / (sqrt(T) + 1) exceeds L by no more
than sqrt(T) + (sqrt(T) + 1) ln N = 50 + 51 * 2.303: an average of O(1 / sqrt(T)), as Theorem 1 has it."""


def one_is_always_right(weights, _):
    """Whoever does not find expert 7 soon pays in every round."""
    return np.where(np.arange(EXPERTS) == 7, 0.0, 1.0)


def the_favourite_fails(weights, _):
    """Whichever expert is trusted most is the one that is wrong."""
    return np.where(np.arange(EXPERTS) == weights.argmax(), 1.0, 0.0)


def the_tables_turn(weights, number):
    """The expert that was best in the first half is worst in the second."""
    losses = np.full(EXPERTS, 0.6)
    losses[2 if number < OUTCOMES / 2 else 5] = 0.0
    losses[5 if number < OUTCOMES / 2 else 2] = 1.0
    return losses


@pytest.mark.parametrize("adversary", [one_is_always_right, the_favourite_fails, the_tables_turn])
def test_the_hedges_regret_stays_within_the_bound_of_theorem_1(adversary):
    weights, beta = np.full(EXPERTS, 1 / EXPERTS), regret_beta(OUTCOMES)
    paid, of_each = 0.0, np.zeros(EXPERTS)
    for number in range(OUTCOMES):
        losses = adversary(weights, number)
        paid += weights @ losses
        of_each += losses
        weights = hedge(weights, losses, beta)
    assert 0 < paid - of_each.min() < BOUND


def test_the_networks_regret_over_its_heads_stays_within_the_bound_of_theorem_1():
    """Heads that predict 0, 1/9, ..., 1, whatever they are shown, and accuracies that are as far off as can be."""
    parameters = {name: np.zeros_like(value) for name, value in AdaptiveMLP(7, depth=EXPERTS).dump().items()}
    parameters["head_bias"] = np.linspace(0.0, 1.0, EXPERTS, dtype=np.float32)
    parameters["alpha"] = np.full(EXPERTS, 1 / EXPERTS)
    network = AdaptiveMLP.load(parameters, eta=0.0, beta=regret_beta(OUTCOMES))
    random = np.random.default_rng(0)
    paid, of_each = 0.0, np.zeros(EXPERTS)
    for row in some_features(OUTCOMES):
        # Mostly 1, so that a head is worth finding; now and then whatever the mixture expects least.
        accuracy = 1.0 if random.random() < 0.8 else float(network.predict_one(row) < 0.5)
        losses = (np.linspace(0.0, 1.0, EXPERTS) - accuracy) ** 2
        paid += network.alpha @ losses
        of_each += losses
        network.update(row, accuracy)
    assert 0 < paid - of_each.min() < BOUND
