"""Fine-tune small networks by regimes of practitioners, and write what came of it for the warm start.

Run ``.venv/bin/python -m benchmarks.small_regimes OUT.csv.gz [--runs 242]``: an hour on one core; it goes on where OUT
ends. What is drawn, by the number of the run, is the network, the dataset, the images a class and the regime, from 8 to
2,000 steps: optimizer, learning rate, weight decay, layer decay, batch size, label smoothing, mixup, averaging, frozen
stages, and whether it is a linear probe, of which there is one in five. Networks and datasets are those of
``small_runs.py``, none of which the demo serves. Images are moved by a few pixels and not otherwise augmented.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.packing import packed
from benchmarks.small_networks import fine_tune_by
from benchmarks.small_runs import NETWORKS, Transfers, told_of
from nasoa_runtime.architecture.structure import HEAD_ONLY
from nasoa_runtime.boundary import Regime
from nasoa_runtime.online.candidates import DEFAULT
from nasoa_runtime.online.records import open_text

FEWEST, MOST = 8, 2000
PROBES = 0.2
"""Share of linear probes."""
FIRST_SEED = 1
"""Of (seed, run): runs of the other file have 0."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=int, default=242)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transfers = Transfers.of_packages()
    rows = done(arguments.out)
    for run in range(len(rows), arguments.runs):
        random = np.random.default_rng((FIRST_SEED, run))
        network, seen, unseen = transfers.drawn(run, random, NETWORKS)
        regime = drawn(random)
        reached = fine_tune_by(network, seen, unseen, regime, run)
        rows.append(
            {
                **told_of(network, seen),
                **regime.model_dump(include=set(REGIME)),
                "accuracy": reached,
            }
        )
        arguments.out.write_bytes(packed(rows))
    return 0


REGIME = (
    "steps", "learning_rate", "frozen_stages", "optimizer", "weight_decay", "layer_decay", "batch_size",
    "label_smoothing", "mixup", "ema", "linear_probe",
)  # fmt: skip
"""Columns that say how a run was trained, under the names of a regime's fields."""


def drawn(random: np.random.Generator) -> Regime:
    """A regime of the default grid."""

    def one_of(values: Any) -> Any:
        return values[random.integers(len(values))]

    probe = bool(random.random() < PROBES)
    optimizer = one_of(DEFAULT.optimizers)
    return Regime(
        model="small",
        steps=round(float(np.exp(random.uniform(np.log(FEWEST), np.log(MOST))))),
        step_seconds=1.0,
        predicted_accuracy=0.0,
        optimizer=optimizer,
        learning_rate=one_of(DEFAULT.rates_of(optimizer)),
        weight_decay=one_of(DEFAULT.weight_decays_of(optimizer)),
        layer_decay=1.0 if probe else one_of(DEFAULT.layer_decays),
        frozen_stages=HEAD_ONLY if probe else one_of(DEFAULT.frozen_stages),
        batch_size=one_of(DEFAULT.batch_sizes),
        label_smoothing=one_of(DEFAULT.label_smoothings),
        mixup=0.0 if probe else one_of(DEFAULT.mixups),
        ema=one_of(DEFAULT.emas),
        linear_probe=probe,
    )


def done(path: Path) -> list[dict[str, Any]]:
    """The runs that were written before."""
    if not path.exists():
        return []
    with open_text(path) as stream:
        return [dict(row) for row in csv.DictReader(stream)]


if __name__ == "__main__":
    raise SystemExit(main())
