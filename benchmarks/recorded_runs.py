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
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.contenders import BUDGETS, DRAWN, ERROR, GROUPS, STRATEGIES, Fold
from benchmarks.intervals import difference, over_datasets, ratio
from benchmarks.kept import Kept
from nasoa_runtime.online.records import Curve, read_curves
from nasoa_runtime.online.requests import LIMITS, by_dataset, requests_of, within

ROOT = Path(__file__).parents[1]
FOLDS = 4
OURS = tuple(f"{label}, hedge" for label in STRATEGIES)
Figures = dict[str, dict[str, list[float]]]
"""From a policy's name and a dataset to regrets at the four limits, shortest first; of predictors, squared errors."""


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
