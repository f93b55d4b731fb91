"""Searches over recorded curves, the peers of our choice: each spends a budget of seconds and returns what it reached.

A run may take the time limit at most, and goes on from where it stopped. One worker. Searches start from nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.rows import CODED, NUMBERS, PROGRESS, RATES, Codes
from nasoa_runtime.online.records import Curve

Floats = NDArray[np.float64]
ETA = 3
RUNGS = (1 / 27, 1 / 9, 1 / 3, 1.0)
"""Shares of the time limit."""
UNKNOWN = tuple((*NUMBERS, *RATES).index(name) for name in (*PROGRESS, *RATES))
"""Columns that say how far a run has gone."""


@dataclass
class Bench:
    """The runs of a request, and what was spent on them."""

    curves: Sequence[Curve]
    seconds: float
    budget: float
    spent: float = 0.0
    best: float = 0.0
    at: dict[int, int] = field(default_factory=dict)
    trace: list[tuple[float, float]] = field(default_factory=list)
    """Seconds spent, and the best accuracy by then, after each point that was trained."""

    def train(self, number: int, seconds: float) -> float | None:
        """Train a run until it has cost ``seconds``, one point at least; its best accuracy, or None without budget."""
        curve, here = self.curves[number], self.at.get(number, -1)
        while here + 1 < len(curve) and (here < 0 or curve[here + 1].gpu_seconds <= seconds):
            cost = curve[here + 1].gpu_seconds - (curve[here].gpu_seconds if here >= 0 else 0.0)
            if self.spent + cost > self.budget:
                return None
            self.spent += cost
            here += 1
            self.at[number] = here
            self.best = max(self.best, curve[here].best_acc)
            self.trace.append((self.spent, self.best))
        return curve[here].best_acc

    def best_within(self, budget: float) -> float:
        """What was reached by the time that ``budget`` was spent; the worst that any run ends with, if nothing was.

        Of a search that does not plan with its budget, the best with a smaller one.
        """
        reached = [best for spent, best in self.trace if spent <= budget]
        return reached[-1] if reached else min(curve[-1].best_acc for curve in self.curves)


Sampler = Callable[[list[int], dict[int, float], np.random.Generator], int]
"""From the runs that are not started yet, and accuracies of others at one rung, to the run that starts next."""


def random_search(bench: Bench, random: np.random.Generator) -> float:
    """Runs in a random order, each to its end."""
    for number in random.permutation(len(bench.curves)):
        if bench.train(int(number), bench.seconds) is None:
            break
    return bench.best


def halving(bench: Bench, random: np.random.Generator) -> float:
    """Successive halving: as many as the budget carries through all rungs, a third of each goes on; then again."""
    order = [int(number) for number in random.permutation(len(bench.curves))]
    count = max(1, int(bench.budget / bench.seconds / (len(RUNGS) * RUNGS[0])))
    while order:
        running, order = order[:count], order[count:]
        for rung in RUNGS:
            reached = {}
            for number in running:
                accuracy = bench.train(number, rung * bench.seconds)
                if accuracy is None:
                    return bench.best
                reached[number] = accuracy
            running = sorted(running, key=lambda number: -reached[number])[: max(1, len(running) // ETA)]
    return bench.best


def asha(bench: Bench, random: np.random.Generator, sampler: Sampler | None = None) -> float:
    """Asynchronous successive halving: promote whoever is in the best third of a rung, else start another."""
    rungs: list[dict[int, float]] = [{} for _ in RUNGS]
    promoted: list[set[int]] = [set() for _ in RUNGS]
    waiting = [int(number) for number in random.permutation(len(bench.curves))]
    while True:
        number, rung = _promotable(rungs, promoted)
        if number is None:
            if not waiting:
                return bench.best
            number, rung = (waiting[0] if sampler is None else sampler(waiting, _highest(rungs), random)), 0
            waiting.remove(number)
        accuracy = bench.train(number, RUNGS[rung] * bench.seconds)
        if accuracy is None:
            return bench.best
        rungs[rung][number] = accuracy


def _promotable(rungs: list[dict[int, float]], promoted: list[set[int]]) -> tuple[int | None, int]:
    for rung in range(len(rungs) - 2, -1, -1):
        ranked = sorted(rungs[rung], key=lambda number: -rungs[rung][number])
        for number in ranked[: len(ranked) // ETA]:
            if number not in promoted[rung]:
                promoted[rung].add(number)
                return number, rung + 1
    return None, 0


def _highest(rungs: list[dict[int, float]], least: int = 8) -> dict[int, float]:
    """Observations of the highest rung that has enough of them."""
    return next((rung for rung in reversed(rungs) if len(rung) >= least), {})


def tree_parzen(features: Floats, coded: Sequence[int], share: float = 0.25, tries: int = 24) -> Sampler:
    """BOHB's model: where the density of good runs is highest over that of the others, a third of the time at random.

    Args:
        features: of all runs, shape (n, columns), without how far they go; NaN is missing.
        coded: columns that are categories.
        share: of observations that count as good.
        tries: runs among which the best ratio is chosen.
    """
    filled = np.where(np.isnan(features), -1.0, features)
    numeric = [column for column in range(filled.shape[1]) if column not in coded]
    scaled = (filled[:, numeric] - filled[:, numeric].mean(0)) / np.maximum(filled[:, numeric].std(0), 1e-9)

    def density(asked: list[int], given: list[int]) -> Floats:
        width = max(len(given), 1) ** -0.2
        gaps = (scaled[asked][:, None] - scaled[given][None]) / width
        smooth = np.log(np.exp(-0.5 * gaps**2).mean(1) + 0.05).sum(1)
        words = [np.log((filled[asked, c][:, None] == filled[given, c][None]).mean(1) * 0.9 + 0.1 / 5) for c in coded]
        return smooth + np.sum(words, axis=0)

    def sample(waiting: list[int], seen: dict[int, float], random: np.random.Generator) -> int:
        if not seen or random.random() < 1 / 3:
            return waiting[0]
        ranked = sorted(seen, key=lambda number: -seen[number])
        cut = max(2, round(share * len(ranked)))
        asked = waiting[:tries]
        return asked[int(np.argmax(density(asked, ranked[:cut]) - density(asked, ranked[cut:])))]

    return sample


def searched(curves: Sequence[Curve]) -> tuple[Floats, tuple[int, ...]]:
    """What a search may know of runs before they start: rows without how far they go, and which columns are codes."""
    firsts = [curve[0] for curve in curves]
    rows = Codes.of(firsts).rows(firsts)
    kept = [column for column in range(rows.shape[1]) if np.ptp(rows[:, column]) > 0 and column not in UNKNOWN]
    return rows[:, kept], tuple(place for place, column in enumerate(kept) if column in CODED)


def cells(curves: Sequence[Curve]) -> list[tuple[Any, ...]]:
    """Model and regime of runs, as coarse as a table needs them: optimizer, the rate's decade, what ruins most."""
    firsts = [curve[0] for curve in curves]
    return [(r.model, r.opt, round(float(np.log10(r.lr))), r.drop > 0, r.stoch_norm > 0) for r in firsts]


def table_scores(
    known: Sequence[tuple[tuple[Any, ...], float, float]], asked: Sequence[tuple[Any, ...]], strength: float = 3.0
) -> Floats:
    """Mean places of (model, regime) cells, each shrunken to the mean of what it shares with fewer and fewer parts.

    Args:
        known: cell, place within its request in [0, 1], and weight of recorded runs.
        asked: cells.
        strength: weight of the coarser mean.
    """
    levels: list[Callable[[tuple[Any, ...]], Any]] = [
        lambda _: (),
        lambda cell: cell[3:],
        lambda cell: (cell[0], *cell[3:]),
        lambda cell: (cell[0], cell[1], *cell[3:]),
        lambda cell: cell,
    ]
    scores = np.full(len(asked), 0.5)
    for level in levels:
        sums: dict[Any, tuple[float, float]] = {}
        for cell, place, weight in known:
            total, count = sums.get(level(cell), (0.0, 0.0))
            sums[level(cell)] = (total + weight * place, count + weight)
        found = [sums.get(level(cell), (0.0, 0.0)) for cell in asked]
        scores = np.array([(t + strength * s) / (n + strength) for (t, n), s in zip(found, scores, strict=True)])
    return scores
