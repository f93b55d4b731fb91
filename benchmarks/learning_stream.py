"""What learning from each request is worth: a stream of 192 requests, served with learning on and off.

Run ``.venv/bin/python benchmarks/learning_stream.py --records FILE [--orders 1] [--seed 0] [--predictors hedge ...]
[--keep FOLDER] [--json]``. Twelve time limits of each dataset, in an order drawn from the seed. Four datasets at a time
are left out of a start; their requests are served by the state that has it. A state learns what its own requests ran
and nothing else. To the other three states these datasets are old: what they would learn are prefixes of runs that
they were fitted to, and the experts' weights would follow whichever remembers best. So four states serve 48 requests
each, on four datasets that are new to them, and everything that a state learns is new when it comes, as it is to a zoo.

Paired differences are on less off, with 95 % intervals bootstrapped over datasets. A dataset's requests offer the same
runs, so that some of what learning brings is that a run is known; candidates that were never run are told apart.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import copy
import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contenders import PREDICTORS, STRATEGIES, squared
from benchmarks.intervals import Interval, difference
from benchmarks.kept import Kept
from benchmarks.recorded_runs import ROOT, parts
from nasoa_runtime.online.learners import Learner, make_learner
from nasoa_runtime.online.records import Curve, read_curves
from nasoa_runtime.online.replayed import Offer
from nasoa_runtime.online.requests import RecordedRequest, by_dataset, regret, requests_of, within
from nasoa_runtime.online.strategies import strategy_named

STREAM_LIMITS = 12
MEASURES = ("regret", "error of runs that were run", "error of all candidates", "error of candidates never run")
STAGES = {
    "a dataset's 1st request": ("earlier", 0, 1),
    "its 2nd to 6th": ("earlier", 1, 6),
    "its 7th to 12th": ("earlier", 6, 12),
    "a state's 1st to 16th request": ("learned", 0, 16),
    "its 17th to 32nd": ("learned", 16, 32),
    "its 33rd to 48th": ("learned", 32, 48),
}
"""Parts of the stream: by the dataset's requests before, and by all that the state has learned."""
Row = dict[str, Any]
"""``dataset``, ``limit``, ``earlier`` and ``learned`` (requests before, of the dataset and of the state), ``order``,
``strategy``, and of ``on`` and ``off`` each of :data:`MEASURES`; ``None`` where there was nothing to measure."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=Path, default=ROOT / "tests" / "golden" / "finetune_records.csv.gz")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--orders", type=int, default=1)
    parser.add_argument("--predictors", nargs="+", default=PREDICTORS)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    curves = read_curves(arguments.records)
    kept = Kept.of(arguments.keep, arguments.records)
    table = {name: list(rows_of(name, curves, kept, arguments)) for name in arguments.predictors}
    if arguments.json:
        print(json.dumps(table))
    else:
        report(table)
    return 0


def rows_of(predictor: str, curves: Sequence[Curve], kept: Kept, arguments: argparse.Namespace) -> Iterator[Row]:
    """All rows of a predictor; each fold and order is kept by itself."""
    for number, left_out in enumerate(parts(curves)):

        @cache
        def started(left_out: tuple[str, ...] = tuple(left_out)) -> Learner:
            learner = make_learner(predictor, arguments.seed, best_so_far=True)
            learner.start([curve for curve in curves if curve[0].dataset not in left_out])
            return learner

        for order in range(arguments.orders):
            name = f"product-stream-{predictor}-fold-{number}-seed-{arguments.seed}-order-{order}"
            yield from kept.figures(name, partial(served, started, curves, left_out, order))


def served(started: Callable[[], Learner], curves: Sequence[Curve], left_out: Sequence[str], order: int) -> list[Row]:
    """What a state comes to on its own part of the stream, once learning and once as it started."""
    own = by_dataset(curves)
    stream = [request for request in in_order(curves, order) if request.dataset in left_out]
    rows = []
    for strategy in STRATEGIES.values():
        fixed, learning = started(), copy.deepcopy(started())
        met, run_before = dict.fromkeys(left_out, 0), set[str]()
        for request in stream:
            prefixes = within(own[request.dataset], request.seconds)
            never = [number for number, prefix in enumerate(prefixes) if prefix[0].curve not in run_before]
            off, _ = one(fixed, strategy, request, prefixes, never)
            on, runs = one(learning, strategy, request, prefixes, never)
            before = {"earlier": met[request.dataset], "learned": sum(met.values())}
            about = {"dataset": request.dataset, "limit": request.limit, "order": order, "strategy": strategy}
            rows.append(about | before | {"on": on, "off": off})
            learning.learn(runs)
            met[request.dataset] += 1
            run_before |= {run[0].curve for run in runs}
    return rows


def in_order(curves: Sequence[Curve], order: int) -> list[RecordedRequest]:
    """The whole stream: twelve time limits of every dataset, shuffled."""
    requests = requests_of(curves, STREAM_LIMITS)
    return [requests[index] for index in np.random.default_rng((order, 3)).permutation(len(requests))]


def one(
    learner: Learner, strategy: str, request: RecordedRequest, prefixes: Sequence[Curve], never: Sequence[int]
) -> tuple[dict[str, float | None], Sequence[Curve]]:
    """The measures of one request, and the runs that it teaches."""
    by = strategy_named(strategy)
    played = by.replay(Offer(request.seconds, prefixes, learner.predict, learner.finals))
    taught = by.learned(played.runs, played.delivered)
    ends = [prefix[-1] for prefix in prefixes]
    predicted, reached = learner.predict(ends), np.array([end.best_acc for end in ends])
    ran = [run[-1] for run in taught]
    found = (
        regret(prefixes, played.runs[played.delivered][-1].best_acc),
        squared(learner.predict(ran), np.array([end.best_acc for end in ran])),
        squared(predicted, reached),
        squared(predicted[list(never)], reached[list(never)]) if never else None,
    )
    return dict(zip(MEASURES, found, strict=True)), taught


def by_datasets(rows: Sequence[Row], mode: str, measure: str) -> dict[str, list[float]]:
    """A measure's values, by dataset."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row[mode][measure] is not None:
            found.setdefault(row["dataset"], []).append(row[mode][measure])
    return found


def on_less_off(rows: Sequence[Row], measure: str) -> tuple[float, float, Interval]:
    """Means over datasets with learning off and on, and their paired difference."""
    off, on = (by_datasets(rows, mode, measure) for mode in ("off", "on"))
    means = [float(np.mean([np.mean(values) for values in of.values()])) for of in (off, on)]
    return means[0], means[1], difference(on, off)


def report(table: dict[str, list[Row]]) -> None:
    """Print the differences, over all requests and over parts of the stream."""
    for predictor, rows in table.items():
        for label, strategy in STRATEGIES.items():
            of_strategy = [row for row in rows if row["strategy"] == strategy]
            print(f"\n{label}, {predictor}: {len(of_strategy)} requests")
            print(f"{'':62}{'off':>8}{'on':>8}  on less off")
            for measure in MEASURES:
                line(measure, of_strategy, measure)
            for stage, (before, first, end) in STAGES.items():
                some = [row for row in of_strategy if first <= row[before] < end]
                if some:
                    regrets = [(row["on"][MEASURES[0]], row["off"][MEASURES[0]]) for row in some]
                    changed = sum(on != off for on, off in regrets)
                    print(f"  {stage}: the regret of {changed} of {len(some)} is another")
                    for measure in (MEASURES[0], MEASURES[3]):
                        line(f"    {measure}", some, measure)


def line(label: str, rows: Sequence[Row], measure: str) -> None:
    """Print one measure."""
    off, on, less = on_less_off(rows, measure)
    print(f"{label:62}{off:8.4f}{on:8.4f}  {less}{'' if less.excludes_zero else '  (not told from none)'}")


if __name__ == "__main__":
    raise SystemExit(main())
