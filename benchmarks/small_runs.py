"""Fine-tune small networks, and write what came of it for the warm start.

Run ``.venv/bin/python benchmarks/small_runs.py OUT.csv.gz [--runs 620]``: an hour on one core. What is drawn, by
the number of the run, is the network, the dataset, the images a class, the learning rate, the frozen
stages and the steps, from 8 to 3,000. The networks come from MNIST and from Fashion-MNIST; the datasets are parts of
Fashion-MNIST and kinds of emoji. None is one that the demo serves, or that ``transfers.csv.gz`` has.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.packing import packed
from benchmarks.small_networks import Images, Pretrained, fine_tune, pretrain
from demo.datasets import Named, emoji_by, fashion, mnist
from nasoa_runtime.online.candidates import Grid

SOURCE_STEPS = 400
NETWORKS = (
    ("02031-_16_1-11-2-1", False),
    ("02031-_24_1-11-2-1", False),
    ("1-_12_1-11-2-1", True),
    ("02031-_8_1-1-2-1", True),
)
"""Encodings, and whether their stem is that of low resolutions: 4 to 180 thousand parameters."""
LARGER = (("03130-_16_1-2-2-1", True), ("021-_16_1-2-2-1", True))
"""Up to 344 thousand parameters and 32 million multiply-accumulates; slow, so fewer runs are of them."""
LARGER_FROM = 500
"""The first run of them."""
EMOJI = (
    "person-role", "person-activity", "transport-ground", "person-sport", "alphanum", "family", "geometric", "time",
    "person-gesture", "sport", "place-building", "tool", "face-concerned", "heart", "household", "office",
    "animal-bird", "event", "arrow", "food-fruit", "drink",
)  # fmt: skip
"""Kinds of emoji with twenty or more drawings that are none of the demo's kinds."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=int, default=620)
    parser.add_argument("--start", type=int, default=0, help="the first run, where others are made elsewhere")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transfers = Transfers.of_packages()
    rows = []
    for run in range(arguments.start, arguments.runs):
        random = np.random.default_rng((0, run))
        network, seen, unseen = transfers.drawn(run, random, NETWORKS if run < LARGER_FROM else LARGER)
        rate, frozen = float(random.choice(Grid().learning_rates)), int(random.choice(Grid().frozen_stages))
        steps = round(float(np.exp(random.uniform(np.log(8), np.log(3000)))))
        reached = fine_tune(network, seen, unseen, rate, frozen, steps, run)
        rows.append(
            {
                **told_of(network, seen),
                "iterations": steps,
                "learning_rate": rate,
                "frozen_stages": frozen,
                "accuracy": reached,
            }
        )
        arguments.out.write_bytes(packed(rows))
    return 0


@dataclass(frozen=True)
class Transfers:
    """From where networks come, and to where they go."""

    sources: dict[str, Images]
    emoji: Images

    @classmethod
    def of_packages(cls) -> Transfers:
        """The images of the published packages."""
        sources = {"fashion": Images.of(fashion(6000)), "mnist": Images.of(mnist(tuple(range(10)), 400))}
        return cls(sources, Images.of(emoji_of_kinds()))

    def drawn(
        self, run: int, random: np.random.Generator, choice: Sequence[tuple[str, bool]]
    ) -> tuple[Pretrained, Images, Images]:
        """A network, images to train it on, and others by which it is judged."""
        source = ("mnist", "fashion")[run % 2]
        network = self._network(source, *choice[random.integers(len(choice))])
        target = self.sources["fashion"] if source == "mnist" and random.random() < 2 / 3 else self.emoji
        return network, *part_of(target, random)

    @cached_property
    def _network(self) -> Callable[[str, str, bool], Pretrained]:
        return cache(lambda source, architecture, stem: pretrained(self.sources[source], architecture, stem))


def told_of(network: Pretrained, seen: Images) -> dict[str, Any]:
    """The columns of a run's network and dataset."""
    return {
        "source_accuracy": network.source_accuracy,
        "parameters": network.size.parameters,
        "macs": network.size.macs,
        "classes": seen.classes,
        "images_per_class": float(seen.counts.mean()),
    }


def pretrained(source: Images, architecture: str, low_resolution_stem: bool) -> Pretrained:
    """A network trained on four fifths of ``source``."""
    seen, held = source.split(0.8, 0)
    return pretrain(architecture, seen, held, SOURCE_STEPS, low_resolution_stem)


def part_of(images: Images, random: np.random.Generator) -> tuple[Images, Images]:
    """Some classes, some images of each, about a third of them not to be trained on."""
    most = int(random.choice((30, 80, 200, 600)))
    chosen = random.permutation(images.classes)[: int(random.choice((3, 5, 8, 10)))]
    labels = images.labels.numpy()
    indices = [random.permutation(np.flatnonzero(labels == label))[:most] for label in chosen]
    renumbered = torch.cat([torch.full((len(part),), number) for number, part in enumerate(indices)])
    part = Images(images.pixels[torch.from_numpy(np.concatenate(indices))], renumbered)
    return part.split(0.64, 0)


def emoji_of_kinds() -> Iterator[Named]:
    """Google's drawings of the kinds that are used here."""
    return emoji_by("google", "subcategory", EMOJI)


if __name__ == "__main__":
    raise SystemExit(main())
