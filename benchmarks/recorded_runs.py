"""Regret of one shot and of a race beside searches that may spend more, on datasets that no part of them has seen.

Run ``.venv/bin/python benchmarks/recorded_runs.py --records FILE [--seed 0] [--draws 10] [--keep FOLDER] [--json]``.
Four datasets at a time are left out, four time limits each; everything is fitted to the other datasets' runs alone and
learns nothing while it serves. With ``--keep`` each fold's figures are written to a folder when it is done, and those
that are there are not computed again. Searches are means of ``--draws`` orders. Without a file the excerpt that the
tests use is taken. Intervals are of paired differences, bootstrapped over datasets.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import Bench, asha, cells, halving, random_search, table_scores, tree_parzen
from nasoa_runtime.online.learners import Learner, make_learner
from nasoa_runtime.online.predictor import as_accuracies
from nasoa_runtime.online.recorded_features import CODED, EPOCHS, ITERATIONS, Vocabulary
from nasoa_runtime.online.records import Curve, read_curves
from nasoa_runtime.online.replayed import Offer
from nasoa_runtime.online.requests import LIMITS, RecordedRequest, by_dataset, regret, requests_of, within
from nasoa_runtime.online.strategies import strategy_named

ROOT = Path(__file__).parents[1]
FOLDS = 4
BUDGETS = (1, 4, 8)
NEIGHBOURS = 3
Floats = NDArray[np.float64]
Figures = dict[str, dict[str, list[float]]]
"""From a policy's name and a dataset to regrets at the four limits, shortest first."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=Path, default=ROOT / "tests" / "golden" / "finetune_records.csv.gz")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    curves = read_curves(arguments.records)
    figures: Figures = {}
    for number, left_out in enumerate(parts(curves)):
        for name, of_dataset in fold(curves, left_out, number, arguments).items():
            figures.setdefault(name, {}).update(of_dataset)
    if arguments.json:
        print(json.dumps(figures))
        return 0
    errors = {name: of for name, of in figures.items() if name.startswith("error: ")}
    policies = {name: of for name, of in figures.items() if name not in errors}
    print(f"{'regret':30}{'mean':>8}" + "".join(f"{f'T_l {limit + 1}':>8}" for limit in range(LIMITS)))
    for name, of_dataset in policies.items():
        by_limit = np.array(list(of_dataset.values())).mean(axis=0)
        print(f"{name:30}{by_limit.mean():8.3f}" + "".join(f"{value:8.3f}" for value in by_limit))
    for name, of_dataset in errors.items():
        print(f"{name:30}{np.mean(list(of_dataset.values())):8.4f}")
    for ours in ("one shot, hedge", "race, hedge"):
        for peer, theirs in policies.items():
            if peer != ours:
                mean, low, high = difference(policies[ours], theirs)
                print(f"{ours} less {peer}: {mean:+.3f} [{low:+.3f}, {high:+.3f}]")
    for limit in range(LIMITS):
        one_shot, race = (at_limit(policies[name], limit) for name in ("one shot, hedge", "race, hedge"))
        mean, low, high = difference(race, one_shot)
        print(f"race less one shot at T_l {limit + 1}: {mean:+.3f} [{low:+.3f}, {high:+.3f}]")
    return 0


def at_limit(of_dataset: dict[str, list[float]], limit: int) -> dict[str, list[float]]:
    """Regrets at one of the limits alone."""
    return {dataset: [regrets[limit]] for dataset, regrets in of_dataset.items()}


def parts(curves: Sequence[Curve]) -> list[list[str]]:
    """The datasets that are left out together."""
    datasets = list(by_dataset(curves))
    return [datasets[part::FOLDS] for part in range(FOLDS)]


def fold(curves: Sequence[Curve], left_out: Sequence[str], number: int, arguments: argparse.Namespace) -> Figures:
    """Regrets on the datasets that are left out, computed or read."""
    kept = arguments.keep / f"fold-{number}-seed-{arguments.seed}.json" if arguments.keep else None
    if kept and kept.exists():
        return dict(json.loads(kept.read_text()))
    others = [curve for curve in curves if curve[0].dataset not in left_out]
    own = [curve for curve in curves if curve[0].dataset in left_out]
    served = Served(others, arguments.seed, arguments.draws)
    figures: Figures = {}
    for request in requests_of(own):
        prefixes = within(by_dataset(own)[request.dataset], request.seconds)
        for name, value in served.regrets(request, prefixes).items():
            figures.setdefault(name, {}).setdefault(request.dataset, []).append(value)
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(figures))
    return figures


class Served:
    """All policies, fitted to the same runs."""

    def __init__(self, others: Sequence[Curve], seed: int, draws: int) -> None:
        self.seed, self.draws = seed, draws
        self.vocabulary = Vocabulary.of([curve[0] for curve in others])
        self.learners = {name: make_learner(name, seed, best_so_far=True) for name in ("hedge", "adaptive-mlp")}
        for learner in self.learners.values():
            learner.start(others)
        self.trees = boosted(others, self.vocabulary, seed)
        self.places = placed(others)
        self.like = {dataset: kind(own) for dataset, own in by_dataset(others).items()}

    def regrets(self, request: RecordedRequest, prefixes: Sequence[Curve]) -> dict[str, float]:
        """Of every policy, and mean squared errors of predictions, on one request."""
        ends = [prefix[-1] for prefix in prefixes]
        reached = np.array([end.best_acc for end in ends])
        by_trees = self.trees(self.vocabulary.describe(ends))
        asked = cells(prefixes)
        found = {"random": float(np.mean([regret(prefixes, value) for value in reached]))}
        for name, scores in (
            ("static ranking", table_scores(self._known(request, near=False), asked)),
            ("k-NN over datasets", table_scores(self._known(request, near=True, like=kind(prefixes)), asked)),
            ("one shot, HistGradientBoosting", by_trees),
        ):
            found[name] = regret(prefixes, float(reached[int(np.argmax(scores))]))
        for name, learner in self.learners.items():
            found[f"error: {name}"] = squared(learner.predict(ends), reached)
            for label, strategy in (("one shot", "OneShot"), ("race", "Race")):
                found[f"{label}, {name}"] = regret(prefixes, played(strategy, request, prefixes, learner))
        found["error: HistGradientBoosting"] = squared(by_trees, reached)
        return found | self._searches(request, prefixes)

    def _known(
        self, request: RecordedRequest, *, near: bool, like: Floats | None = None
    ) -> list[tuple[tuple[object, ...], float, float]]:
        """Cells and places of the other datasets' runs at the same of their four limits."""
        chosen = set(self.like)
        if near and like is not None:
            distance = {dataset: float(np.linalg.norm(own - like)) for dataset, own in self.like.items()}
            chosen = set(sorted(distance, key=lambda dataset: distance[dataset])[:NEIGHBOURS])
        return [
            (cell, place, 1.0)
            for dataset, limit, cell, place in self.places
            if limit == request.limit and dataset in chosen
        ]

    def _searches(self, request: RecordedRequest, prefixes: Sequence[Curve]) -> dict[str, float]:
        features = self.vocabulary.describe([prefix[0] for prefix in prefixes])
        features[:, [EPOCHS, ITERATIONS]] = 0.0
        sampler = tree_parzen(features, CODED)
        searches: dict[str, Callable[[Bench, np.random.Generator], float]] = {
            "random search": random_search,
            "successive halving": halving,
            "ASHA": asha,
            "BOHB-like": lambda bench, random: asha(bench, random, sampler),
        }
        found = {}
        for budget in BUDGETS:
            for name, search in searches.items():
                values = []
                for draw in range(self.draws):
                    bench = Bench(prefixes, request.seconds, budget * request.seconds)
                    # A search that has reached nothing yet has the worst there is.
                    got = search(bench, np.random.default_rng((self.seed, draw))) or min(
                        p[-1].best_acc for p in prefixes
                    )
                    values.append(min(1.0, regret(prefixes, got)))
                found[f"{name}, {budget}x"] = float(np.mean(values))
        return found


def played(strategy: str, request: RecordedRequest, prefixes: Sequence[Curve], learner: Learner) -> float:
    """What a strategy reaches."""
    result = strategy_named(strategy).replay(Offer(request.seconds, prefixes, learner.predict, learner.finals))
    if result.seconds > request.seconds:
        msg = f"{strategy} took {result.seconds} of {request.seconds} s"
        raise SystemExit(msg)
    return result.runs[result.delivered][-1].best_acc


def boosted(curves: Sequence[Curve], vocabulary: Vocabulary, seed: int) -> Callable[[Floats], Floats]:
    """scikit-learn's boosted trees on the same points and columns as the expert's."""
    from sklearn.ensemble import HistGradientBoostingRegressor  # noqa: PLC0415 - takes seconds.

    from nasoa_runtime.online.hedged import best_accuracy  # noqa: PLC0415
    from nasoa_runtime.online.lessons import Lessons  # noqa: PLC0415

    lessons = Lessons.of(curves, vocabulary, best_accuracy)
    model = HistGradientBoostingRegressor(
        max_iter=200, learning_rate=0.05, random_state=seed, categorical_features=list(CODED)
    )
    model.fit(lessons.points, lessons.reached)
    return lambda features: np.asarray(model.predict(features), np.float64)


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


def difference(ours: dict[str, list[float]], theirs: dict[str, list[float]]) -> tuple[float, float, float]:
    """Mean of the paired differences, and its 95 % interval over datasets."""
    paired = np.array([np.mean(ours[dataset]) - np.mean(theirs[dataset]) for dataset in ours])
    draws = np.random.default_rng(0).choice(paired, (10_000, len(paired))).mean(axis=1)
    low, high = np.percentile(draws, (2.5, 97.5))
    return float(paired.mean()), float(low), float(high)


if __name__ == "__main__":
    raise SystemExit(main())
