"""From what fits to the candidates that are ranked: all of them, or those that a request's seed draws. Pure.

Where the product of the grid has more than :data:`MOST_CANDIDATES`, models and numbers of frozen stages are represented
alike, whatever of the rest fits is drawn at random, and values that cost nothing come equally often. So every model and
every value that fits in T_l occurs. A quarter is for plain regimes, of which a few models have all: there is always
something that is known to work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.architecture.structure import FROZEN_STAGES, HEAD_ONLY
from nasoa_runtime.online.candidates import Grid
from nasoa_runtime.online.fitting import Cells
from nasoa_runtime.online.regimes import Regimes

Integers = NDArray[np.int64]

MOST_CANDIDATES = 8000
WHOLE = 4
"""Of products up to so many times as large, candidates are drawn from the whole, so that none comes up twice."""
PLAIN_SHARE = 0.25
"""Of the candidates that are drawn of larger ones: for plain regimes, all of them where these are fewer."""
FREE = ("fraction", "learning_rate", "weight_decay", "layer_decay", "label_smoothing", "mixup")
"""What a cell leaves open, as columns of indices."""
COSTLY = (
    "frozen_stages", "batch_size", "optimizer", "ema", "mixed", "mirroring", "augmentation", "linear_probe",
)  # fmt: skip
"""What a cell says of the grid's lists."""
KINDS = len(FROZEN_STAGES) + 1
"""Ways of freezing, and linear probes."""


@dataclass(frozen=True)
class Drawn:
    """The candidates, as columns of shape (n,)."""

    regimes: Regimes
    step_seconds: NDArray[np.float64]
    """Mean of a run's steps, loading included."""
    seconds: NDArray[np.float64]
    """Whole runs."""
    learning_rate_index: Integers
    """Among the rates of each candidate's optimizer."""
    plainness: Integers
    """Sum of the places that a candidate's values have in their lists: 0 where each is the first."""


def draw(cells: Cells, grid: Grid, seed: int, most: int = MOST_CANDIDATES) -> Drawn:
    """The candidates: each cell with each value of what it leaves open, or a part of them.

    Args:
        cells: what fits, at least one.
        grid: as the request's pins leave it.
        seed: the request's.
        most: how many there may be.
    """
    lengths, distinct = _lengths(cells, grid)
    radices = _radices(cells, grid)
    random = np.random.default_rng(seed)
    others = np.prod([radices[name] for name in FREE[1:]], axis=0)
    total = int((distinct.sum(axis=1) * others).sum())
    if total <= WHOLE * most:
        rows, free = _product(distinct, others, radices)
        if total > most:
            kept = _in_turn(cells, rows, random, most, again=False)
            rows, free = rows[kept], {name: column[kept] for name, column in free.items()}
    else:
        plain, of_plain = _plain(cells, grid, distinct, radices)
        if len(plain) > PLAIN_SHARE * most:
            kept = _in_turn(cells, plain, random, int(PLAIN_SHARE * most), again=False)
            plain, of_plain = plain[kept], {name: column[kept] for name, column in of_plain.items()}
        rows = _in_turn(cells, np.arange(len(cells)), random, most - len(plain), again=True)
        free = {name: _evenly(radices[name][rows], random) for name in FREE}
        rows, free = np.concatenate([plain, rows]), {n: np.concatenate([of_plain[n], free[n]]) for n in FREE}
        # Fractions of few steps come to the same number of steps: the first of them stands for all.
        free["fraction"] = (lengths[rows] == lengths[rows, free["fraction"]][:, None]).argmax(axis=1)
        rows, free = _without_repetitions(rows, free, radices)
    return _drawn(cells, grid, rows, free, lengths[rows, free["fraction"]])


def _product(
    distinct: NDArray[np.bool_], others: Integers, radices: dict[str, Integers]
) -> tuple[Integers, dict[str, Integers]]:
    """Each cell with each value of what it leaves open: numbers of cells, and indices of values."""
    rows, fractions = np.nonzero(distinct)
    counts = others[rows]
    numbers = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    rows, free = np.repeat(rows, counts), {"fraction": np.repeat(fractions, counts)}
    for name in FREE[1:]:
        radix = radices[name][rows]
        numbers, free[name] = numbers // radix, numbers % radix
    return rows, free


def _plain(
    cells: Cells, grid: Grid, distinct: NDArray[np.bool_], radices: dict[str, Integers]
) -> tuple[Integers, dict[str, Integers]]:
    """What has the first value of everything but model, learning rate, frozen stages, length and optimizer."""
    as_they_are = (
        (cells.mixed == (grid.mixups[0] > 0)) & (cells.mirroring == grid.mirrorings[0]) & (cells.augmentation == 0)
    )
    of_cells = np.flatnonzero(
        (cells.batch_size == grid.batch_sizes[0]) & (cells.ema == grid.emas[0]) & (as_they_are | cells.linear_probe)
    )
    rates = radices["learning_rate"][of_cells]
    ones = {name: np.ones_like(rates) for name in FREE}
    rows, free = _product(distinct[of_cells], rates, ones | {"learning_rate": rates})
    return of_cells[rows], free


def _lengths(cells: Cells, grid: Grid) -> tuple[Integers, NDArray[np.bool_]]:
    """Iterations of each cell at each fraction, and whether they are the first of that number; both (c, fractions)."""
    wanted = np.round(cells.largest[:, None] * np.array(grid.fractions)).astype(np.int64)
    lengths = np.minimum(np.maximum(wanted, grid.least_steps), cells.largest[:, None])
    repeated = np.zeros(lengths.shape, np.bool_)
    for column in range(1, lengths.shape[1]):
        repeated[:, column] = (lengths[:, :column] == lengths[:, column : column + 1]).any(axis=1)
    return lengths, ~repeated


def _radices(cells: Cells, grid: Grid) -> dict[str, Integers]:
    """How many values of each thing that is left open each cell has."""

    def of_optimizer(values: Callable[[Any], Sequence[float]]) -> Integers:
        return np.array([len(values(optimizer)) for optimizer in grid.optimizers])[cells.optimizer]

    ones = np.ones(len(cells), np.int64)
    # Of the classifier alone no layer is earlier, so that decay from layer to layer says nothing.
    layers = np.where(cells.frozen_stages == HEAD_ONLY, 1, len(grid.layer_decays))
    return {
        "fraction": ones * len(grid.fractions),
        "learning_rate": of_optimizer(grid.rates_of),
        "weight_decay": of_optimizer(grid.weight_decays_of),
        "layer_decay": layers,
        "label_smoothing": ones * len(grid.label_smoothings),
        "mixup": np.where(cells.mixed, max(len(_alphas(grid)), 1), 1),
    }


def _alphas(grid: Grid) -> tuple[float, ...]:
    return tuple(alpha for alpha in grid.mixups if alpha > 0)


def _in_turn(cells: Cells, of: Integers, random: np.random.Generator, most: int, *, again: bool) -> Integers:
    """Numbers of ``most`` candidates: models and frozen stages in turn, and each value of what costs at least once.

    Args:
        cells: ways to run models.
        of: the candidates' cells.
        random: what decides the rest.
        most: how many are wanted.
        again: whether those of a model and number of frozen stages come up again once all of them have.
    """
    stratum = (cells.model * KINDS + np.where(cells.linear_probe, KINDS - 1, cells.frozen_stages))[of]
    shuffled = random.permutation(len(of))
    # Numbers of 16 bits are sorted several times as fast.
    small = stratum.astype(np.min_scalar_type(int(stratum.max())))
    shuffled = shuffled[np.argsort(small[shuffled], kind="stable")]
    counts = np.bincount(stratum)
    names = np.flatnonzero(counts)
    counts = counts[names]
    starts = np.cumsum(counts) - counts
    # Each model's first stratum comes before any model's second, in case there are more strata than candidates.
    order = random.permutation(len(names))
    order = order[np.argsort(names[order] // KINDS, kind="stable")]
    model = names[order] // KINDS
    rank = np.arange(len(order)) - np.searchsorted(model, model)
    order = order[np.lexsort((random.permutation(len(order)), rank))]
    if again:
        turns = np.arange(most)
        chosen = order[turns % len(order)]
        kept = shuffled[starts[chosen] + (turns // len(order)) % counts[chosen]]
    else:
        turn = np.arange(len(of)) - np.repeat(starts, counts)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        kept = shuffled[np.lexsort((np.repeat(place, counts), turn))[:most]]
    missing = [
        random.choice(np.flatnonzero(column[of] == value))
        for column in (getattr(cells, name) for name in COSTLY)
        for value in sorted(_values(column[of]) - _values(column[of[kept]]))
    ]
    return np.concatenate([kept[: most - len(missing)], np.array(missing, np.int64)])


def _values(column: NDArray[Any]) -> set[int]:
    """What a column of small numbers, of flags, or of places from -1 on has."""
    return set((np.flatnonzero(np.bincount(column.astype(np.int64) + 1)) - 1).tolist())


def _evenly(radix: Integers, random: np.random.Generator) -> Integers:
    """An index below each radix, such that among equal radices all indices come equally often, in random order."""
    index = np.zeros_like(radix)
    for size in sorted(_values(radix) - {1}):
        of_size = np.flatnonzero(radix == size)
        index[of_size] = random.permutation(len(of_size)) % size
    return index


def _without_repetitions(
    rows: Integers, free: dict[str, Integers], radices: dict[str, Integers]
) -> tuple[Integers, dict[str, Integers]]:
    code = rows.copy()
    for name in FREE:
        code = code * int(radices[name].max()) + free[name]
    kept = np.unique(code, return_index=True)[1]
    return rows[kept], {name: column[kept] for name, column in free.items()}


def _drawn(cells: Cells, grid: Grid, rows: Integers, free: dict[str, Integers], steps: Integers) -> Drawn:
    of = cells.take(rows)
    whole = of.seconds(steps)

    def of_optimizer(values: Callable[[Any], Sequence[float]], index: Integers) -> NDArray[np.float64]:
        lists = [values(optimizer) for optimizer in grid.optimizers]
        table = np.array([[*each, *[np.nan] * (max(map(len, lists)) - len(each))] for each in lists], np.float64)
        column: NDArray[np.float64] = table[of.optimizer, index]
        return column

    probes = of.linear_probe
    alphas = np.array(_alphas(grid) or (0.0,))
    regimes = Regimes.of_columns(
        model=of.model,
        learning_rate=of_optimizer(grid.rates_of, free["learning_rate"]),
        frozen_stages=of.frozen_stages.astype(np.float64),
        iterations=steps.astype(np.float64),
        batch_size=of.batch_size.astype(np.float64),
        optimizer=np.array(grid.optimizers)[of.optimizer],
        weight_decay=of_optimizer(grid.weight_decays_of, free["weight_decay"]),
        layer_decay=np.array(grid.layer_decays)[free["layer_decay"]],
        label_smoothing=np.array(grid.label_smoothings)[free["label_smoothing"]],
        mixup=np.where(of.mixed, alphas[free["mixup"]], 0.0),
        mirroring=of.mirroring,
        augmentation=np.where(probes, "crop", np.array(grid.augmentations)[of.augmentation]),
        ema=of.ema,
        linear_probe=probes,
    )
    places = [of.optimizer, np.where(probes, 0, of.augmentation), free["weight_decay"], free["layer_decay"]]
    places += [free["label_smoothing"], _places(regimes.mixup, grid.mixups), _places(of.mirroring, grid.mirrorings)]
    places += [_places(of.ema, grid.emas), _places(of.batch_size, grid.batch_sizes)]
    return Drawn(
        regimes=regimes,
        step_seconds=of.step_seconds + of.first_seconds * np.minimum(steps, of.first_steps) / steps,
        seconds=whole,
        learning_rate_index=free["learning_rate"],
        plainness=np.sum(places, axis=0),
    )


def _places(column: NDArray[Any], values: Sequence[Any]) -> Integers:
    """Where each of ``column`` stands in ``values``; 0 for what does not."""
    places: Integers = (column[:, None] == np.array(values)).argmax(axis=1)
    return places
