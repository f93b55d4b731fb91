"""The front, its hypervolume and its representatives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasoa_runtime.search.front import (
    best_spread,
    hypervolume,
    largest_contribution,
    pareto_front,
)
from nasoa_runtime.search.individuals import Individual


def members(*figures: tuple[float | None, float], generation: int = 0) -> list[Individual]:
    return [
        Individual(
            f"e{slot}", seconds, accuracy, None if accuracy is not None else "OutOfMemory", "macro", generation, slot
        )
        for slot, (accuracy, seconds) in enumerate(figures)
    ]


def names(individuals) -> list[str]:
    return [individual.encoding for individual in individuals]


POPULATIONS = st.lists(
    st.tuples(st.none() | st.sampled_from([0.1, 0.3, 0.5, 0.9]), st.sampled_from([0.01, 0.02, 0.1, 0.5])), max_size=20
).map(lambda figures: members(*figures))


def test_the_front_is_what_nobody_dominates_most_accurate_first() -> None:
    population = members((0.2, 1.0), (0.1, 2.0), (0.8, 3.0), (None, 0.1), (0.8, 3.0), (0.5, 2.0))
    assert names(pareto_front(population)) == ["e2", "e5", "e0"]
    assert pareto_front(members((None, 1.0))) == ()
    assert pareto_front([]) == ()


def test_hypervolume_is_the_area_under_the_stated_reference() -> None:
    population = members((0.2, 1.0), (0.8, 3.0))
    assert hypervolume(population, 4.0) == pytest.approx(0.2 * 3 + 0.6 * 1)
    assert hypervolume(population, 2.0) == pytest.approx(0.2 * 1)
    assert hypervolume([], 4.0) == 0.0


def test_without_a_limit_the_first_generation_sets_the_reference() -> None:
    first = members((0.2, 1.0), (0.1, 2.0))
    assert hypervolume(first) == pytest.approx(0.2 * 1.2)
    later = members((0.9, 50.0), generation=1)
    assert hypervolume(first + later) == pytest.approx(0.2 * 1.2)


@given(POPULATIONS, POPULATIONS)
def test_more_individuals_never_lower_the_hypervolume(one, other) -> None:
    assert hypervolume(one + other, 0.6) >= hypervolume(one, 0.6) - 1e-12


def test_the_largest_contributions_come_first() -> None:
    population = members((0.2, 1.0), (0.25, 1.5), (0.8, 3.0), (0.1, 2.0))
    assert names(largest_contribution(population, 2, 4.0)) == ["e2", "e0"]
    assert names(largest_contribution(population, 9, 4.0)) == ["e2", "e0", "e1"]
    assert largest_contribution([], 3) == ()


def spread(population, count):
    return [individual.encoding for individual, _ in best_spread(population, count)]


def test_the_best_spread_keeps_the_ends_and_thins_out_the_crowd() -> None:
    population = members((0.1, 1.0), (0.12, 1.1), (0.14, 1.2), (0.5, 10.0), (0.9, 100.0))
    assert spread(population, 3) == ["e0", "e3", "e4"]
    assert spread(population, 2) == ["e0", "e4"]
    assert spread(population, 1) == ["e4"]
    assert best_spread(population, 0) == ()


def test_the_next_ranks_fill_up_a_small_front() -> None:
    population = members((0.5, 1.0), (0.9, 2.0), (0.4, 1.5), (0.3, 3.0), (None, 0.5))
    assert [(i.encoding, rank) for i, rank in best_spread(population, 3)] == [
        ("e0", 0),
        ("e1", 0),
        ("e2", 1),
    ]
    assert [(i.encoding, rank) for i, rank in best_spread(population, 9)] == [
        ("e0", 0),
        ("e1", 0),
        ("e2", 1),
        ("e3", 2),
    ]


@given(POPULATIONS, st.integers(0, 12), st.randoms(use_true_random=False))
def test_representatives_are_as_many_as_there_are_and_do_not_depend_on_the_order(population, count, random) -> None:
    chosen = best_spread(population, count)
    assert len(chosen) == min(count, sum(i.accuracy is not None for i in population))
    shuffled = list(population)
    random.shuffle(shuffled)
    assert best_spread(shuffled, count) == chosen
    assert largest_contribution(shuffled, count, 0.6) == largest_contribution(population, count, 0.6)
