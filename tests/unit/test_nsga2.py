"""Ranking and selection, on points whose ranks and distances can be worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nasoa_runtime.search.individuals import Individual, costs
from nasoa_runtime.search.nsga2 import binary_tournament, crowding_distance, rank, select_elite

INFINITE = float("inf")

POINTS = arrays(
    np.float64,
    st.tuples(st.integers(0, 30), st.just(2)),
    elements=st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.7, 1.0]),
)


def an_individual(accuracy: float | None, step_seconds: float, generation: int = 0, slot: int = 0) -> Individual:
    return Individual(
        encoding=f"0-_{16 + 2 * slot}_1-1-1-{generation + 1}",
        step_seconds=step_seconds,
        accuracy=accuracy,
        failure=None if accuracy is not None else "Diverged",
        level="macro",
        generation=generation,
        slot=slot,
    )


def dominates(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((one <= other).all() and (one < other).any())


def test_ranks_count_the_layers_of_domination() -> None:
    points = np.array([[1, 4], [2, 2], [4, 1], [2, 3], [3, 2], [4, 4], [2, 2]], float)
    assert rank(points).tolist() == [0, 0, 0, 1, 1, 2, 0]


def test_failed_evaluations_share_the_last_rank() -> None:
    points = np.array([[0.5, 1.0], [INFINITE, 0.1], [0.6, 2.0], [INFINITE, 0.2]])
    assert rank(points).tolist() == [0, 2, 1, 2]
    assert rank(points[[1, 3]]).tolist() == [0, 0]
    assert rank(np.empty((0, 2))).tolist() == []


@given(POINTS)
def test_nobody_dominates_within_a_rank_and_somebody_does_from_the_rank_before(points: np.ndarray) -> None:
    ranks = rank(points)
    for index, own in enumerate(ranks):
        assert not any(dominates(points[other], points[index]) for other in np.flatnonzero(ranks == own))
        if own:
            assert any(dominates(points[other], points[index]) for other in np.flatnonzero(ranks == own - 1))


def test_crowding_distance_is_half_the_perimeter_of_the_neighbours_box() -> None:
    points = np.array([[0.0, 10.0], [1.0, 6.0], [4.0, 5.0], [10.0, 0.0]])
    distances = crowding_distance(points, np.zeros(4, np.int64))
    assert distances == pytest.approx([INFINITE, 4 / 10 + 5 / 10, 9 / 10 + 6 / 10, INFINITE])


def test_copies_of_a_point_are_not_apart() -> None:
    points = np.array([[0.0, 2.0], [1.0, 1.0], [1.0, 1.0], [2.0, 0.0]])
    assert crowding_distance(points, np.zeros(4, np.int64)).tolist() == [INFINITE, 2.0, 0.0, INFINITE]


@given(POINTS, st.randoms(use_true_random=False))
def test_crowding_distances_of_distinct_points_do_not_depend_on_their_order(points: np.ndarray, random) -> None:
    points = np.unique(points, axis=0).reshape(-1, 2)
    order = list(range(len(points)))
    random.shuffle(order)
    straight = crowding_distance(points, rank(points))
    shuffled = crowding_distance(points[order], rank(points[order]))
    assert shuffled == pytest.approx(straight[order])


def test_the_elite_is_taken_by_rank_then_by_distance() -> None:
    ends = [an_individual(0.1, 1.0, slot=0), an_individual(0.9, 9.0, slot=1)]
    crowded, lonely = an_individual(0.15, 1.5, slot=2), an_individual(0.5, 4.0, slot=3)
    second, failed = an_individual(0.05, 2.0, slot=4), an_individual(None, 0.1, slot=5)
    everybody = [failed, second, crowded, lonely, *ends]
    assert select_elite(everybody, 6) == (*ends, lonely, crowded, second, failed)
    assert select_elite(everybody, 2) == tuple(ends)


def test_the_older_of_equals_is_kept() -> None:
    older, younger = an_individual(0.5, 1.0, generation=1), an_individual(0.5, 1.0, generation=2)
    assert select_elite([younger, older], 1) == (older,)


def test_costs_are_error_and_step_time() -> None:
    assert costs([an_individual(0.75, 2.0), an_individual(None, 3.0)]).tolist() == [[0.25, 2.0], [INFINITE, 3.0]]


def test_the_tournament_gives_the_better_of_two() -> None:
    winners = [binary_tournament("abc", np.random.default_rng(seed)) for seed in range(60)]
    assert set(winners) == {"a", "b"}
    assert winners.count("a") > winners.count("b") > 0
    assert binary_tournament("a", np.random.default_rng(0)) == "a"
