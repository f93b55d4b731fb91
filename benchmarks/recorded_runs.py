"""Regret of one shot and of a race beside searches that may spend more, on datasets that no part of them has seen.

Run ``.venv/bin/python benchmarks/recorded_runs.py --records FILE [--seed 0] [--draws 10] [--groups product ...]
[--keep FOLDER] [--json]``. Four datasets at a time are left out, four time limits each; everything is fitted to the
other datasets' runs alone and learns nothing while it serves. With ``--keep`` the figures of each group and fold are
written to a folder when they are there, and not computed again. Searches are means of ``--draws`` orders. Without a
file the excerpt that the tests use is taken. Intervals are of paired differences, bootstrapped over datasets.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.intervals import difference, over_datasets, ratio
from benchmarks.kept import Kept
from benchmarks.peers import Bench, asha, cells, halving, random_search, searched, table_scores, tree_parzen
from nasoa_runtime.online.learners import Learner, make_learner
from nasoa_runtime.online.predictor import as_accuracies
from nasoa_runtime.online.records import Curve, read_curves
from nasoa_runtime.online.replayed import Offer
from nasoa_runtime.online.requests import LIMITS, RecordedRequest, by_dataset, regret, requests_of, within
from nasoa_runtime.online.strategies import strategy_named

ROOT = Path(__file__).parents[1]
FOLDS = 4
BUDGETS = (1, 4, 8)
NEIGHBOURS = 3
QUICK_TUNE_FITS = 2
STRATEGIES = {"one shot": "OneShot", "race": "Race"}
PREDICTORS = ("hedge", "adaptive-mlp")
OURS = tuple(f"{label}, hedge" for label in STRATEGIES)
ERROR = "error: "
Floats = NDArray[np.float64]
Figures = dict[str, dict[str, list[float]]]
"""From a policy's name and a dataset to regrets at the four limits, shortest first; of predictors, squared errors."""
Answer = Callable[[RecordedRequest, Sequence[Curve]], dict[str, float]]
"""Figures of some policies on one request, whose runs are given as far as the limit reaches."""


@dataclass(frozen=True)
class Fold:
    """What policies may see, and how they are drawn."""

    number: int
    curves: Sequence[Curve]
    """The other datasets' runs."""
    seed: int
    draws: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=Path, default=ROOT / "tests" / "golden" / "finetune_records.csv.gz")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--groups", nargs="+", choices=tuple(GROUPS), default=tuple(GROUPS))
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    curves = read_curves(arguments.records)
    kept = Kept.of(arguments.keep, arguments.records)
    figures: Figures = {}
    for number, left_out in enumerate(parts(curves)):
        others = [curve for curve in curves if curve[0].dataset not in left_out]
        own = [curve for curve in curves if curve[0].dataset in left_out]
        fold = Fold(number, others, arguments.seed, arguments.draws)
        for group in arguments.groups:
            found = kept.figures(file_of(group, fold), partial(served, group, fold, own))
            for name, of_dataset in found.items():
                figures.setdefault(name, {}).update(of_dataset)
    if arguments.json:
        print(json.dumps(figures))
    else:
        report(figures)
    return 0


def parts(curves: Sequence[Curve]) -> list[list[str]]:
    """The datasets that are left out together."""
    datasets = list(by_dataset(curves))
    return [datasets[part::FOLDS] for part in range(FOLDS)]


def file_of(group: str, fold: Fold) -> str:
    """The name under which a group's figures of a fold are kept."""
    drawn = f"-draws-{fold.draws}" if group in DRAWN else ""
    return f"{group}-fold-{fold.number}-seed-{fold.seed}{drawn}"


def served(group: str, fold: Fold, own: Sequence[Curve]) -> Figures:
    """A group's figures on the datasets that are left out."""
    answer = GROUPS[group](fold)
    figures: Figures = {}
    for request in requests_of(own):
        prefixes = within(by_dataset(own)[request.dataset], request.seconds)
        for name, value in answer(request, prefixes).items():
            figures.setdefault(name, {}).setdefault(request.dataset, []).append(value)
    return figures


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


def report(figures: Figures) -> None:
    """Print all tables."""
    policies = {name: of for name, of in figures.items() if not name.startswith(ERROR)}
    strong = {budget: strongest(policies, budget) for budget in BUDGETS}
    print(f"{'regret':32}{'mean, 95 % interval':>26}" + "".join(f"{f'T_l {limit + 1}':>8}" for limit in range(LIMITS)))
    for name, of_dataset in policies.items():
        by_limit = np.array(list(of_dataset.values())).mean(axis=0)
        mark = "  <- the strongest" if name in strong.values() else ""
        print(f"{name:32}{of_datasets(of_dataset):>26}" + "".join(f"{value:8.3f}" for value in by_limit) + mark)
    print("\nsquared error of predictions; over adaptive-mlp's")
    for name, of_dataset in figures.items():
        if name.startswith(ERROR):
            of_paper = figures.get(f"{ERROR}adaptive-mlp")
            share = f"{ratio(of_dataset, of_paper)}" if of_paper else ""
            print(f"{name:32}{np.mean(list(of_dataset.values())):8.4f}  {share}")
    print()
    for ours in (name for name in OURS if name in policies):
        for peer, theirs in policies.items():
            if peer != ours:
                mark = "  <- the strongest" if peer in strong.values() else ""
                print(f"{ours} less {peer}: {difference(policies[ours], theirs)}{mark}")
    if all(name in policies for name in OURS):
        for limit in range(LIMITS):
            one_shot, race = (at_limit(policies[name], limit) for name in OURS)
            print(f"race less one shot at T_l {limit + 1}: {difference(race, one_shot)}")


def of_datasets(of_dataset: dict[str, list[float]]) -> str:
    """A mean with its interval over datasets, without signs."""
    found = over_datasets([float(np.mean(regrets)) for regrets in of_dataset.values()])
    return f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]"


def strongest(policies: Figures, budget: int) -> str | None:
    """Whichever of our ASHA, our BOHB-like search and Optuna's searches has the lowest regret with this budget."""
    rivals = [
        name for name in policies if name.startswith(("ASHA", "BOHB-like", "Optuna")) and name.endswith(f", {budget}x")
    ]
    met = {name: float(np.mean(list(policies[name].values()))) for name in rivals if name in policies}
    return min(met, key=lambda name: met[name]) if len(met) > 1 else None


def at_limit(of_dataset: dict[str, list[float]], limit: int) -> dict[str, list[float]]:
    """Regrets at one of the limits alone."""
    return {dataset: [regrets[limit]] for dataset, regrets in of_dataset.items()}


if __name__ == "__main__":
    raise SystemExit(main())
