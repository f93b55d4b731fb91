"""All that choose among recorded runs, in groups that are computed and kept apart.

Each is fitted to the runs of a fold's other datasets, if to anything, and then asked about one request at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import Bench, asha, cells, halving, random_search, searched, table_scores, tree_parzen
from nasoa_runtime.online.learners import Learner, make_learner
from nasoa_runtime.online.predictor import as_accuracies
from nasoa_runtime.online.records import Curve
from nasoa_runtime.online.replayed import Offer
from nasoa_runtime.online.requests import RecordedRequest, by_dataset, regret, requests_of, within
from nasoa_runtime.online.strategies import strategy_named

BUDGETS = (1, 4, 8)
NEIGHBOURS = 3
QUICK_TUNE_FITS = 2
STRATEGIES = {"one shot": "OneShot", "race": "Race"}
PREDICTORS = ("hedge", "adaptive-mlp")
ERROR = "error: "
Floats = NDArray[np.float64]
Answer = Callable[[RecordedRequest, Sequence[Curve]], dict[str, float]]
"""Figures of some policies on one request, whose runs are given as far as the limit reaches: regrets, and under names
that start with :data:`ERROR` squared errors."""


@dataclass(frozen=True)
class Fold:
    """What policies may see, and how they are drawn."""

    number: int
    curves: Sequence[Curve]
    """The other datasets' runs."""
    seed: int
    draws: int


def product(fold: Fold) -> Answer:
    """The product's predictors and strategies."""
    learners = {name: make_learner(name, fold.seed, best_so_far=True) for name in PREDICTORS}
    for learner in learners.values():
        learner.start(fold.curves)

    def answer(request: RecordedRequest, prefixes: Sequence[Curve]) -> dict[str, float]:
        ends = [prefix[-1] for prefix in prefixes]
        reached = np.array([end.best_acc for end in ends])
        found = {}
        for name, learner in learners.items():
            found[f"{ERROR}{name}"] = squared(learner.predict(ends), reached)
            for label, strategy in STRATEGIES.items():
                found[f"{label}, {name}"] = regret(prefixes, played(strategy, request, prefixes, learner))
        return found

    return answer


def played(strategy: str, request: RecordedRequest, prefixes: Sequence[Curve], learner: Learner) -> float:
    """What a strategy reaches."""
    result = strategy_named(strategy).replay(Offer(request.seconds, prefixes, learner.predict, learner.finals))
    if result.seconds > request.seconds * (1 + 1e-9):
        msg = f"{strategy} took {result.seconds} of {request.seconds} s"
        raise SystemExit(msg)
    return result.runs[result.delivered][-1].best_acc


def rankings(fold: Fold) -> Answer:
    """One choice each, by a table of what did well elsewhere or by scikit-learn's trees on points of curves."""
    from benchmarks.regressors import fitted_to_points  # noqa: PLC0415 - scikit-learn takes seconds.

    trees = fitted_to_points(fold.curves, fold.seed)
    places = placed(fold.curves)
    like = {dataset: kind(own) for dataset, own in by_dataset(fold.curves).items()}

    def answer(request: RecordedRequest, prefixes: Sequence[Curve]) -> dict[str, float]:
        ends = [prefix[-1] for prefix in prefixes]
        reached = np.array([end.best_acc for end in ends])
        asked = cells(prefixes)
        apart = {dataset: float(np.linalg.norm(own - kind(prefixes))) for dataset, own in like.items()}
        near = sorted(apart, key=lambda dataset: apart[dataset])[:NEIGHBOURS]
        tables = {"static ranking": list(like), "k-NN over datasets": near}
        found = {"random": float(np.mean([regret(prefixes, value) for value in reached]))}
        for name, chosen in tables.items():
            known = [(cell, place, 1.0) for of, limit, cell, place in places if limit == request.limit and of in chosen]
            found[name] = regret(prefixes, float(reached[int(np.argmax(table_scores(known, asked)))]))
        for name, model in trees.items():
            predicted = model(ends)
            found[f"one shot, {name}"] = regret(prefixes, float(reached[int(np.argmax(predicted))]))
            found[f"{ERROR}{name}"] = squared(predicted, reached)
        return found

    return answer


def searches(fold: Fold) -> Answer:
    """Searches of ours, which start from nothing."""

    def answer(request: RecordedRequest, prefixes: Sequence[Curve]) -> dict[str, float]:
        sampler = tree_parzen(*searched(prefixes))
        rungs: dict[str, Callable[[Bench, np.random.Generator], float]] = {
            "random search": random_search,
            "ASHA": asha,
            "BOHB-like": lambda bench, random: asha(bench, random, sampler),
        }
        benches: dict[str, list[Bench]] = {}
        for draw in range(fold.draws):
            for name, run in rungs.items():
                bench = Bench(prefixes, request.seconds, max(BUDGETS) * request.seconds)
                run(bench, np.random.default_rng((fold.seed, draw)))
                benches.setdefault(name, []).append(bench)
        found = by_budget(benches)
        # Successive halving plans with its budget: each is a search of its own.
        for budget in BUDGETS:
            values = []
            for draw in range(fold.draws):
                bench = Bench(prefixes, request.seconds, budget * request.seconds)
                halving(bench, np.random.default_rng((fold.seed, draw)))
                values.append(regret(prefixes, bench.best_within(bench.budget)))
            found[f"successive halving, {budget}x"] = float(np.mean(values))
        return found

    return answer


def optuna(fold: Fold) -> Answer:
    """Optuna's samplers and pruners."""
    from benchmarks.optuna_searches import SEARCHES, search  # noqa: PLC0415 - takes seconds.

    def answer(request: RecordedRequest, prefixes: Sequence[Curve]) -> dict[str, float]:
        benches: dict[str, list[Bench]] = {}
        for draw in range(fold.draws):
            for name, (sampler, pruner) in SEARCHES.items():
                bench = Bench(prefixes, request.seconds, max(BUDGETS) * request.seconds)
                seed = int(np.random.default_rng((fold.seed, draw)).integers(2**31))
                search(bench, sampler(seed), pruner(), f"{fold.seed}-{draw}-{request.dataset}-{request.limit}")
                benches.setdefault(name, []).append(bench)
        return by_budget(benches)

    return answer


def quick_tune(fold: Fold) -> Answer:
    """Quick-Tune's method, fitted to the fold a few times: it draws nothing once it is fitted."""
    from benchmarks.quick_tune import MetaLearned, search  # noqa: PLC0415 - torch takes seconds.

    fits = [MetaLearned.of(fold.curves, fold.seed * QUICK_TUNE_FITS + number) for number in range(QUICK_TUNE_FITS)]

    def answer(request: RecordedRequest, prefixes: Sequence[Curve]) -> dict[str, float]:
        benches = [Bench(prefixes, request.seconds, max(BUDGETS) * request.seconds) for _ in fits]
        for bench, learned in zip(benches, fits, strict=True):
            search(bench, learned)
        return by_budget({"Quick-Tune": benches})

    return answer


GROUPS: dict[str, Callable[[Fold], Answer]] = {
    "product": product,
    "rankings": rankings,
    "searches": searches,
    "optuna": optuna,
    "quick-tune": quick_tune,
}
"""What is kept in files of its own: only the first depends on the product."""
DRAWN = ("searches", "optuna")
"""Those of them that depend on the number of draws."""


def by_budget(benches: dict[str, list[Bench]]) -> dict[str, float]:
    """Mean regrets of searches that don't plan with their budget, at each of several that they had on their way."""
    return {
        f"{name}, {budget}x": float(
            np.mean([regret(bench.curves, bench.best_within(budget * bench.seconds)) for bench in of_name])
        )
        for budget in BUDGETS
        for name, of_name in benches.items()
    }


def placed(curves: Sequence[Curve]) -> list[tuple[str, int, tuple[object, ...], float]]:
    """Dataset, limit, cell and place in [0, 1] of each run within its dataset's four limits."""
    found = []
    own = by_dataset(curves)
    for request in requests_of(curves):
        prefixes = within(own[request.dataset], request.seconds)
        places = [1.0 - regret(prefixes, prefix[-1].best_acc) for prefix in prefixes]
        found += [(request.dataset, request.limit, *pair) for pair in zip(cells(prefixes), places, strict=True)]
    return found


def kind(curves: Sequence[Curve]) -> Floats:
    """What is known of a dataset before anything was run on it."""
    first = curves[0][0]
    return np.log([first.n_classes, first.imgs_per_class, first.n_train])


def squared(predicted: Floats, reached: Floats) -> float:
    """Mean squared error."""
    return float(np.mean((as_accuracies(predicted) - reached) ** 2))
