"""Quick-Tune's method (Pineda Arango et al., ICLR 2024) over recorded curves, written anew and small.

A Gaussian process over features that a network makes of the settings, the dataset, the budget and the curve so far (a
deep kernel) predicts what one more epoch of each run would reach. Network and kernel are fitted to the marginal
likelihood of runs on other datasets, one dataset a batch. On a new dataset the process is conditioned on the points
that were seen, and the run with the highest expected improvement per predicted second goes on by one epoch, until the
time is spent. A second network, fitted to the same datasets, predicts the seconds.

What differs from theirs: the features of the datasets are the three that the records have; the networks stay as they
were fitted, where theirs are trained further after every epoch; the process sees at most the last :data:`SEEN` points;
costs are predicted as logarithms; the run that starts first is the one with the highest predicted mean per second
instead of a random one; and no dataset is set aside to choose among checkpoints of the fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.peers import Bench
from benchmarks.rows import NUMBERS, PROGRESS, RATES, Codes
from nasoa_runtime.online.records import Curve
from nasoa_runtime.online.requests import by_dataset

Floats = NDArray[np.float64]
EPOCHS = 50
"""The longest run."""
SHOWN = 10
"""Latest accuracies of a curve that the network is shown."""
HIDDEN, FEATURES = 64, 16
STEPS, BATCH, RATE = 1500, 96, 1e-3
SEEN = 400
"""Points on which the process is conditioned."""
_TIME = tuple((*NUMBERS, *RATES).index(name) for name in (*PROGRESS, *RATES))


@dataclass(frozen=True)
class Scaled:
    """Settings of runs as a network takes them: one column for each word, every column standardised."""

    codes: Codes
    middle: Floats
    spread: Floats

    @classmethod
    def of(cls, curves: Sequence[Curve]) -> Scaled:
        """Standardised over ``curves``."""
        codes = Codes.of([curve[0] for curve in curves])
        rows = codes.one_hot([curve[0] for curve in curves])
        return cls(codes, rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6))

    def rows(self, curves: Sequence[Curve]) -> torch.Tensor:
        """Shape (n, width): nothing of how far the runs go."""
        rows = (self.codes.one_hot([curve[0] for curve in curves]) - self.middle) / self.spread
        rows[:, list(_TIME)] = 0.0
        return torch.tensor(np.clip(rows, -5, 5), dtype=torch.float32)


def progress(curve: Curve, points: int) -> list[float]:
    """The budget that comes next, and the latest of the accuracies so far, ``points`` of them, newest first."""
    accuracies = [point.acc for point in curve[max(0, points - SHOWN) : points]][::-1]
    best = curve[points - 1].best_acc if points else 0.0
    shown = accuracies + [accuracies[-1] if accuracies else 0.0] * (SHOWN - len(accuracies))
    return [(points + 1) / EPOCHS, float(points > 0), best, *shown]


PROGRESS_WIDTH = 3 + SHOWN


def network(inputs: int, outputs: int) -> nn.Sequential:
    """The feature extractor, or the predictor of costs."""
    return nn.Sequential(
        nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs)
    )


class DeepKernel(nn.Module):
    """A process with a constant mean and a squared exponential kernel over the network's features."""

    def __init__(self, inputs: int) -> None:
        """Start from a network that was drawn."""
        super().__init__()
        self.features = network(inputs, FEATURES)
        self.mean = nn.Parameter(torch.tensor(0.3))
        self.scale = nn.Parameter(torch.tensor(-3.0))
        self.noise = nn.Parameter(torch.tensor(-5.0))
        self.length = nn.Parameter(torch.tensor(1.0))

    def kernel(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """Covariances of features."""
        apart = torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist").square()
        covariance: torch.Tensor = self.scale.exp() * torch.exp(-0.5 * apart / self.length.exp().square())
        return covariance

    def root(self, features: torch.Tensor) -> torch.Tensor:
        """The Cholesky factor of the covariance of noisy points."""
        noise = (self.noise.exp() + 1e-5) * torch.eye(len(features))
        root: torch.Tensor = torch.linalg.cholesky(self.kernel(features, features) + noise)
        return root

    def loss(self, rows: torch.Tensor, reached: torch.Tensor) -> torch.Tensor:
        """The negative marginal log likelihood of a point, without constants."""
        root = self.root(self.features(rows))
        gap = torch.linalg.solve_triangular(root, (reached - self.mean)[:, None], upper=False)
        loss: torch.Tensor = (0.5 * gap.square().sum() + root.diagonal().log().sum()) / len(rows)
        return loss

    def ahead(self, asked: torch.Tensor, seen: torch.Tensor, reached: torch.Tensor) -> tuple[Floats, Floats]:
        """Means and standard deviations of asked features, given seen ones and what those reached."""
        spread = self.scale.exp() + self.noise.exp()
        if not len(seen):
            return np.full(len(asked), float(self.mean)), np.full(len(asked), float(spread.sqrt()))
        root, across = self.root(seen), self.kernel(seen, asked)
        solved = torch.linalg.solve_triangular(root, across, upper=False)
        gap = torch.linalg.solve_triangular(root, (reached - self.mean)[:, None], upper=False)
        mean = self.mean + (solved * gap).sum(dim=0)
        variance = (spread - solved.square().sum(dim=0)).clamp(min=1e-8)
        return mean.double().numpy(), variance.sqrt().double().numpy()


@dataclass(frozen=True)
class MetaLearned:
    """What is learned of other datasets."""

    scaled: Scaled
    process: DeepKernel
    costs: nn.Sequential

    @classmethod
    def of(cls, curves: Sequence[Curve], seed: int) -> MetaLearned:
        """Fit both networks to runs on other datasets."""
        torch.manual_seed(seed)
        random = np.random.default_rng((seed, 5))
        scaled = Scaled.of(curves)
        tasks = [(own, scaled.rows(own)) for own in by_dataset(curves).values()]
        width = tasks[0][1].shape[1]
        process, costs = DeepKernel(width + PROGRESS_WIDTH), network(width + 1, 1)
        optimizer = torch.optim.Adam([*process.parameters(), *costs.parameters()], RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
        for _ in range(STEPS):
            own, rows = tasks[random.integers(len(tasks))]
            chosen = random.integers(len(own), size=BATCH)
            points = [int(random.integers(len(own[run]))) for run in chosen]
            asked = [(own[run], point) for run, point in zip(chosen, points, strict=True)]
            shown = torch.tensor([progress(curve, point) for curve, point in asked], dtype=torch.float32)
            reached = torch.tensor([curve[point].acc for curve, point in asked], dtype=torch.float32)
            seconds = torch.tensor([cost(curve, point) for curve, point in asked], dtype=torch.float32)
            first = torch.tensor([[float(point == 0)] for point in points])
            settings = rows[torch.tensor(chosen)]
            guessed = costs(torch.cat([settings, first], dim=1))[:, 0]
            loss = process.loss(torch.cat([settings, shown], dim=1), reached)
            optimizer.zero_grad()
            (loss + (guessed - seconds.log()).square().mean()).backward()
            nn.utils.clip_grad_norm_(process.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        return cls(scaled, process.requires_grad_(False), costs.requires_grad_(False))


def cost(curve: Curve, point: int) -> float:
    """Seconds of a point since the one before."""
    return curve[point].gpu_seconds - (curve[point - 1].gpu_seconds if point else 0.0)


def improvement(mean: Floats, spread: Floats, best: Floats) -> Floats:
    """The expected improvement over what was reached."""
    away = (mean - best) / spread
    below = 0.5 * (1.0 + np.asarray(torch.erf(torch.tensor(away / 2**0.5))))
    density = np.exp(-0.5 * away**2) / (2 * np.pi) ** 0.5
    found: Floats = (mean - best) * below + spread * density
    return found


def search(bench: Bench, learned: MetaLearned) -> float:
    """Spend the budget epoch by epoch; the best accuracy that was shown."""
    rows = learned.scaled.rows(bench.curves)
    firsts = torch.cat([rows, torch.ones(len(rows), 1)], dim=1)
    laters = torch.cat([rows, torch.zeros(len(rows), 1)], dim=1)
    seconds = np.stack([learned.costs(part)[:, 0].exp().double().numpy() for part in (laters, firsts)])
    done = np.zeros(len(rows), np.int64)
    ahead = learned.process.features(inputs(rows, bench.curves, done))
    seen, reached, at = [torch.empty(0, FEATURES)], [torch.empty(0)], list[int]()
    while (going := np.flatnonzero(done < [len(curve) for curve in bench.curves])).size:
        mean, spread = learned.process.ahead(ahead[going], torch.cat(seen)[-SEEN:], torch.cat(reached)[-SEEN:])
        price = seconds[(done[going] == 0).astype(int), going]
        worth = improvement(mean, spread, incumbents(done[going] + 1, at, torch.cat(reached))) if at else mean
        run = int(going[int(np.argmax(worth / price))])
        if bench.train(run, bench.curves[run][done[run]].gpu_seconds) is None:
            break
        seen.append(ahead[run : run + 1])
        reached.append(torch.tensor([bench.curves[run][done[run]].acc], dtype=torch.float32))
        done[run] += 1
        at.append(int(done[run]))
        ahead = ahead.clone()
        ahead[run] = learned.process.features(inputs(rows[run : run + 1], [bench.curves[run]], done[run : run + 1]))[0]
    return bench.best


def inputs(rows: torch.Tensor, curves: Sequence[Curve], done: NDArray[np.int64]) -> torch.Tensor:
    """What the network takes of runs that have done so many points."""
    shown = [progress(curve, int(points)) for curve, points in zip(curves, done, strict=True)]
    return torch.cat([rows, torch.tensor(shown, dtype=torch.float32)], dim=1)


def incumbents(budgets: NDArray[np.int64], at: Sequence[int], reached: torch.Tensor) -> Floats:
    """For each budget the best that was seen at it; the best of all where none was."""
    best: dict[int, float] = {}
    for budget, accuracy in zip(at, reached.tolist(), strict=True):
        best[budget] = max(accuracy, best.get(budget, 0.0))
    highest = max(best.values())
    return np.array([best.get(int(budget), highest) for budget in budgets])
