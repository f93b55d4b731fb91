"""The experts that ``hedge`` mixes. Each is a value: learning gives another one, asking changes nothing.

- ``points``: boosted trees on points of learning curves; they predict the accuracy.
- ``order``: boosted trees fitted to the order within a request: to the accuracies of what one dataset and one time
  limit allow, stretched to [0, 1]. That leaves out how hard a dataset is, which trees otherwise spend their splits on,
  and is what a choice needs (ZAP, arXiv 2206.08476, ranks pairs for the same reason). A line, fitted to datasets that
  were left out, makes an accuracy of it.
- ``network``: the paper's adaptive MLP, which also relearns a few earlier outcomes with each new one.

Each adds a residual for the zoo and one for the dataset (:mod:`nasoa_runtime.online.residuals`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.algorithms import learned, make_predictor
from nasoa_runtime.online.description import Batch
from nasoa_runtime.online.encoder import Encoder
from nasoa_runtime.online.features import NETWORK_FEATURES
from nasoa_runtime.online.predictor import AdaptiveMLP, as_accuracies
from nasoa_runtime.online.residuals import Residuals
from nasoa_runtime.online.trees import Trees
from nasoa_runtime.online.vocabulary import Vocabulary

Floats = NDArray[np.float64]
RELEARNED = 3
"""Earlier outcomes that the network learns again with each new one."""
REMEMBERED = 512
"""Earlier outcomes that it keeps for that: a sample of all, each as likely as any other to be among them."""


class Expert(Protocol):
    """One of those that are mixed."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def residuals(self) -> Residuals: ...  # noqa: D102

    def predict(self, runs: Batch) -> Floats:
        """Predicted accuracies, shape (n,), not clipped."""

    def learn(self, runs: Batch, accuracies: Floats) -> Self:
        """The expert that has also seen these outcomes of one request."""


@dataclass(frozen=True)
class TreeExpert:
    """Boosted trees over the full description; their prediction, put through a line, plus the residuals."""

    name: str
    vocabulary: Vocabulary
    trees: Trees
    slope: float = 1.0
    intercept: float = 0.0
    residuals: Residuals = field(default_factory=Residuals)

    def predict(self, runs: Batch) -> Floats:
        """See :class:`Expert`."""
        return self._without_residuals(runs) + self.residuals.of(runs)

    def learn(self, runs: Batch, accuracies: Floats) -> TreeExpert:
        """Move the residuals; the trees change when they are fitted anew."""
        errors = accuracies - self._without_residuals(runs)
        return replace(self, residuals=self.residuals.observe(runs, errors))

    def _without_residuals(self, runs: Batch) -> Floats:
        return self.intercept + self.slope * self.trees.predict(self.vocabulary.encode(runs))


@dataclass(frozen=True, eq=False)
class Past:
    """A sample of the outcomes that a network has learned: rows after their transforms, models, accuracies."""

    rows: Floats
    """Shape (p, features)."""
    models: tuple[str, ...]
    accuracies: Floats
    seen: int = 0
    """Outcomes of which this is a sample."""

    @classmethod
    def nothing(cls) -> Past:
        """Of a network that has learned nothing."""
        return cls(np.empty((0, len(NETWORK_FEATURES))), (), np.empty(0))

    def with_outcome(self, row: Floats, model: str, accuracy: float, random: np.random.Generator) -> Past:
        """A sample of one outcome more (reservoir sampling)."""
        if self.seen < REMEMBERED:
            rows, accuracies = np.vstack([self.rows, row]), np.append(self.accuracies, accuracy)
            return Past(rows, (*self.models, model), accuracies, self.seen + 1)
        place = int(random.integers(self.seen + 1))
        if place >= REMEMBERED:
            return replace(self, seen=self.seen + 1)
        rows, accuracies = self.rows.copy(), self.accuracies.copy()
        rows[place], accuracies[place] = row, accuracy
        models = (*self.models[:place], model, *self.models[place + 1 :])
        return Past(rows, models, accuracies, self.seen + 1)


@dataclass(frozen=True, eq=False)
class NetworkExpert:
    """The adaptive MLP over the full description, with replay of earlier outcomes."""

    seed: int
    encoder: Encoder
    network: AdaptiveMLP
    past: Past
    residuals: Residuals = field(default_factory=Residuals)
    name: str = "network"

    @classmethod
    def new(cls, seed: int) -> NetworkExpert:
        """A network that has learned nothing."""
        encoder = Encoder.new(NETWORK_FEATURES)
        network = make_predictor(AdaptiveMLP.algorithm, encoder.width, seed, input_energy=encoder.energy)
        return cls(seed, encoder, network, Past.nothing())

    def predict(self, runs: Batch) -> Floats:
        """See :class:`Expert`."""
        return self._without_residuals(runs) + self.residuals.of(runs)

    def learn(self, runs: Batch, accuracies: Floats) -> NetworkExpert:
        """Learn the outcomes, each with a few earlier ones, and move the residuals."""
        residuals = self.residuals.observe(runs, accuracies - self._without_residuals(runs))
        return replace(self.taught(runs, accuracies), residuals=residuals)

    def taught(self, runs: Batch, accuracies: Floats) -> NetworkExpert:
        """The same without residuals: what runs from elsewhere teach."""
        random = np.random.default_rng((self.seed, self.past.seen))
        names = _names(runs)
        encoder, network, past = self.encoder, self.network.copy(), self.past
        for name in dict.fromkeys(names):
            if name and name not in encoder.models:
                encoder = encoder.grow(name)
                network.grow()
        rows = encoder.transform(runs)
        encoder = encoder.observe(rows)
        for row, name, accuracy in zip(rows, names, accuracies.tolist(), strict=True):
            past = past.with_outcome(row, name, accuracy, random)
            again = random.integers(len(past.models), size=RELEARNED)
            lessons = np.vstack([row, past.rows[again]])
            models = (name, *(past.models[place] for place in again))
            inputs = encoder.encode_transformed(lessons, models, np.arange(len(models)))
            for one, target in zip(inputs, (accuracy, *past.accuracies[again]), strict=True):
                network = learned(network, one, float(target))
        return replace(self, encoder=encoder, network=network, past=past)

    def _without_residuals(self, runs: Batch) -> Floats:
        names = _names(runs)
        known = tuple(dict.fromkeys(names))
        place = {name: index for index, name in enumerate(known)}
        index = np.array([place[name] for name in names], np.int64)
        rows = self.encoder.encode_transformed(self.encoder.transform(runs), known, index)
        return as_accuracies(self.network.predict(rows))


def _names(runs: Batch) -> list[str]:
    """Of each run the public name of its model, by which the network knows it in any zoo; empty where it has none."""
    return [name or "" for name in runs.words["architecture"]]
