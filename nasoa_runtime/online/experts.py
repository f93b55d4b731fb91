"""The experts that ``hedge`` mixes. Each is a value: learning gives another one, asking changes nothing.

- ``points``: boosted trees on points of learning curves; they predict the accuracy.
- ``order``: boosted trees fitted to the order within a request: to the accuracies of what one dataset and one time
  limit allow, stretched to [0, 1]. That leaves out how hard a dataset is, which trees otherwise spend their splits on,
  and is what a choice needs (ZAP, arXiv 2206.08476, ranks pairs for the same reason). A line, fitted to datasets that
  were left out, makes an accuracy of it.
- ``network``: the paper's adaptive MLP, which also relearns a few earlier outcomes with each new one.

Each adds a residual for the dataset: the mean of what it was off there since it was fitted, shrunken towards 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.algorithms import learned, make_predictor
from nasoa_runtime.online.description import describe_rows
from nasoa_runtime.online.encoder import Encoder
from nasoa_runtime.online.predictor import AdaptiveMLP, as_accuracies
from nasoa_runtime.online.recorded_features import CODED, NETWORK_FEATURES, Vocabulary
from nasoa_runtime.online.records import RecordedRun
from nasoa_runtime.online.trees import Trees, fit

Floats = NDArray[np.float64]
Target = Callable[[RecordedRun], float]
"""What of a point is predicted: its accuracy, or the best so far."""
SHRINKAGE = 3.0
"""How many outcomes without any residual a dataset starts with."""
RELEARNED = 3
"""Earlier outcomes that the network learns again with each new one."""


@dataclass(frozen=True)
class Residuals:
    """Sums of what was reached less what was predicted, and their numbers, for each dataset."""

    sums: Mapping[str, tuple[float, int]] = field(default_factory=dict)

    def of(self, runs: Sequence[RecordedRun]) -> Floats:
        """The shrunken mean of each run's dataset, shape (n,); 0 where nothing is known of it."""
        totals = (self.sums.get(run.dataset, (0.0, 0)) for run in runs)
        return np.array([total / (count + SHRINKAGE) for total, count in totals], np.float64)

    def observe(self, runs: Sequence[RecordedRun], errors: Floats) -> Residuals:
        """Residuals that also cover ``errors``, reached less predicted without residuals, of ``runs``."""
        sums = dict(self.sums)
        for run, error in zip(runs, errors, strict=True):
            total, count = sums.get(run.dataset, (0.0, 0))
            sums[run.dataset] = (total + float(error), count + 1)
        return Residuals(sums)


class Expert(Protocol):
    """One of those that are mixed."""

    @property
    def name(self) -> str: ...  # noqa: D102

    def predict(self, runs: Sequence[RecordedRun]) -> Floats:
        """Predicted accuracies, shape (n,), not clipped."""

    def learn(self, runs: Sequence[RecordedRun], accuracies: Floats) -> Self:
        """The expert that has also seen these outcomes of one request."""


@dataclass(frozen=True)
class TreeExpert:
    """Boosted trees over the full description; their prediction, put through a line, plus the residual."""

    name: str
    vocabulary: Vocabulary
    trees: Trees
    slope: float = 1.0
    intercept: float = 0.0
    residuals: Residuals = Residuals()

    def predict(self, runs: Sequence[RecordedRun]) -> Floats:
        """See :class:`Expert`."""
        return self._without_residuals(runs) + self.residuals.of(runs)

    def learn(self, runs: Sequence[RecordedRun], accuracies: Floats) -> TreeExpert:
        """Move the residuals; the trees change when they are fitted anew."""
        errors = accuracies - self._without_residuals(runs)
        return replace(self, residuals=self.residuals.observe(runs, errors))

    def _without_residuals(self, runs: Sequence[RecordedRun]) -> Floats:
        return self.intercept + self.slope * self.trees.predict(self.vocabulary.describe(runs))


def fit_trees(
    name: str, vocabulary: Vocabulary, features: Floats, targets: Floats, seed: int, members: int
) -> TreeExpert:
    """An expert fitted to described points, shape (n, width), and their targets, shape (n,)."""
    return TreeExpert(name, vocabulary, fit(features, targets, CODED, seed, members))


@dataclass(frozen=True)
class NetworkExpert:
    """The adaptive MLP over the full description, with replay of earlier outcomes."""

    seed: int
    encoder: Encoder
    network: AdaptiveMLP
    past: tuple[tuple[RecordedRun, float], ...] = ()
    residuals: Residuals = Residuals()
    name: str = "network"

    @classmethod
    def new(cls, seed: int) -> NetworkExpert:
        """A network that has learned nothing."""
        encoder = Encoder.new(NETWORK_FEATURES)
        network = make_predictor(AdaptiveMLP.algorithm, encoder.width, seed, input_energy=encoder.energy)
        return cls(seed, encoder, network)

    def predict(self, runs: Sequence[RecordedRun]) -> Floats:
        """See :class:`Expert`."""
        return self._without_residuals(runs) + self.residuals.of(runs)

    def learn(self, runs: Sequence[RecordedRun], accuracies: Floats) -> NetworkExpert:
        """Learn the outcomes, each with a few earlier ones, and move the residuals."""
        residuals = self.residuals.observe(runs, accuracies - self._without_residuals(runs))
        taught = self.taught(runs, accuracies)
        return replace(taught, residuals=residuals)

    def taught(self, runs: Sequence[RecordedRun], accuracies: Floats) -> NetworkExpert:
        """The same without residuals: what runs from elsewhere teach."""
        if not runs:
            return self
        random = np.random.default_rng((self.seed, len(self.past)))
        past = (*self.past, *zip(runs, accuracies.tolist(), strict=True))
        lessons: list[tuple[RecordedRun, float]] = []
        for lesson in past[len(self.past) :]:
            earlier = random.integers(len(past), size=RELEARNED)
            lessons += [lesson, *(past[index] for index in earlier)]
        encoder, network = self.encoder, self.network.copy()
        for model in dict.fromkeys(run.model for run in runs):
            if model not in encoder.models:
                encoder = encoder.grow(model)
                network.grow()
        new = describe_rows(NETWORK_FEATURES, runs)
        encoder = encoder.observe(encoder.transform(new))
        rows = encoder.encode(describe_rows(NETWORK_FEATURES, [run for run, _ in lessons]))
        for row, (_, accuracy) in zip(rows, lessons, strict=True):
            network = learned(network, row, accuracy)
        return replace(self, encoder=encoder, network=network, past=past)

    def _without_residuals(self, runs: Sequence[RecordedRun]) -> Floats:
        return as_accuracies(self.network.predict(self.encoder.encode(describe_rows(NETWORK_FEATURES, runs))))
