"""Fine-tune small networks from MNIST to parts of Fashion-MNIST, and write what came of it for the warm start.

Run ``.venv/bin/python benchmarks/small_runs.py OUT.csv.gz [--runs 240]``: some minutes on one core. The optimiser, the
schedule and the stages are those of a request; what is drawn, from a fixed seed, is the network, the classes, the
images a class, the learning rate, the frozen stages and the steps. None of it is a transfer that the demo serves.
"""

from __future__ import annotations

import argparse
import copy
import csv
import gzip
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from demo.datasets import Named, fashion, mnist
from nasoa_runtime.architecture.complexity import complexity
from nasoa_runtime.online.candidates import Grid
from nasoa_runtime.online.warm_start import SMALL_COLUMNS
from nasoa_runtime.training.models import build_model, freeze
from nasoa_runtime.training.schedule import learning_rate

NETWORKS = ("02031-_16_1-11-2-1", "02031-_16_1-1-1-1", "02031-_24_1-11-2-1")
SIZE = 32
BATCH = 32
SOURCE_STEPS = 300


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=int, default=240)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    source = tensors(mnist(tuple(range(10)), 200))
    target = tensors(fashion(6000))
    networks = []
    for architecture in NETWORKS:
        model = build_model(architecture, 10)
        held = torch.arange(len(source[1])) % 5 == 0
        train(model, source[0][~held], source[1][~held], 0.05, SOURCE_STEPS)
        networks.append((architecture, model, accuracy(model, source[0][held], source[1][held])))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, SMALL_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for _ in range(arguments.runs):
        architecture, model, source_accuracy = networks[random.integers(len(networks))]
        classes, each = int(random.choice((3, 5, 8, 10))), int(random.choice((20, 50, 120)))
        rate, frozen = float(random.choice(Grid().learning_rates)), int(random.integers(6))
        steps = round(float(np.exp(random.uniform(np.log(8), np.log(300)))))
        labels = random.permutation(10)[:classes]
        parts = [random.permutation(np.flatnonzero(target[1].numpy() == label))[: each + 40] for label in labels]
        tuned = head_renewed(model, architecture, classes)
        freeze(tuned, frozen)
        images = torch.cat([target[0][part[:each]] for part in parts])
        train(tuned, images, torch.arange(classes).repeat_interleave(each), rate, steps)
        unseen = torch.cat([target[0][part[each:]] for part in parts])
        reached = accuracy(tuned, unseen, torch.arange(classes).repeat_interleave(40))
        size = complexity(architecture, SIZE, classes)
        row = (source_accuracy, size.parameters, size.macs, classes, each, steps, rate, frozen, reached)
        writer.writerow({name: f"{value:.4g}" for name, value in zip(SMALL_COLUMNS, row, strict=True)})
        arguments.out.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))
    return 0


def tensors(images: Iterator[Named]) -> tuple[Tensor, Tensor]:
    """Images, shape (n, 3, 32, 32), and the indices of their classes."""
    pixels, labels = [], []
    for path, content in images:
        pixels.append(np.asarray(Image.open(io.BytesIO(content)).convert("RGB").resize((SIZE, SIZE))))
        labels.append(path.split("/")[-2])
    names = sorted(set(labels))
    stacked = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
    return (stacked - 0.45) / 0.3, torch.tensor([names.index(label) for label in labels])


def head_renewed(model: nn.Module, architecture: str, classes: int) -> nn.Module:
    """A copy with a fresh classifier."""
    fresh = build_model(architecture, classes)
    own = fresh.state_dict()
    kept = {name: value for name, value in model.state_dict().items() if value.shape == own[name].shape}
    head = next(name for name, layer in reversed(list(fresh.named_modules())) if isinstance(layer, nn.Linear))
    kept = {name: copy.deepcopy(value) for name, value in kept.items() if not name.startswith(head)}
    fresh.load_state_dict(own | kept)
    return fresh


def train(model: nn.Module, images: Tensor, labels: Tensor, rate: float, steps: int) -> None:
    model.train()
    optimizer = torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad], rate, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(rate, step / steps, 0.1)
        chosen = torch.randint(len(labels), (BATCH,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[chosen]), labels[chosen]).backward()
        optimizer.step()


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    model.eval()
    outputs = torch.cat([model(part) for part in images.split(256)])
    return float((outputs.argmax(1) == labels).float().mean())


if __name__ == "__main__":
    raise SystemExit(main())
