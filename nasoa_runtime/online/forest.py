"""The trees of ``hedge``: both experts' and those of the intervals, fitted together and stored as one document."""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.boundary import digest
from nasoa_runtime.documents.base import UnreadableDocumentError, dump, load
from nasoa_runtime.documents.predictor import StoredForest
from nasoa_runtime.online.description import Batch
from nasoa_runtime.online.errors import UnreadableState
from nasoa_runtime.online.experience import Experience
from nasoa_runtime.online.experts import TreeExpert
from nasoa_runtime.online.intervals import Intervals, distances
from nasoa_runtime.online.left_out import LeftOut, judged
from nasoa_runtime.online.lessons import Lessons, folds_of
from nasoa_runtime.online.trees import Trees, fit
from nasoa_runtime.online.vocabulary import CODED, COLUMNS, Vocabulary

Floats = NDArray[np.float64]
LEAST_SPREAD = 0.05
"""On the logit scale: a prediction is never surer than to about a hundredth."""
_LARGEST_BYTES = 1 << 28


@dataclass(frozen=True)
class Forest:
    """The trees of both experts, the line of the second, and the trees of how far off both together are."""

    vocabulary: Vocabulary
    points: Trees
    order: Trees
    slope: float
    intercept: float
    spread: Trees

    def spread_of(self, runs: Batch) -> Floats:
        """How far off predictions of these runs may be, on the logit scale, shape (n,)."""
        spread: Floats = np.maximum(self.spread.predict(self.vocabulary.encode(runs)), LEAST_SPREAD)
        return spread

    @property
    def experts(self) -> tuple[TreeExpert, TreeExpert]:
        """Experts of these trees, without residuals."""
        points = TreeExpert("points", self.vocabulary, self.points)
        return points, TreeExpert("order", self.vocabulary, self.order, self.slope, self.intercept)

    def dump(self) -> bytes:
        """The forest as it is stored; equal forests have equal bytes, so their digest names them."""
        stored = StoredForest(
            columns=COLUMNS,
            words=self.vocabulary.words,
            points=self.points.texts,
            order=self.order.texts,
            slope=self.slope,
            intercept=self.intercept,
            spread=self.spread.texts,
        )
        return gzip.compress(dump(stored), mtime=0)

    @classmethod
    def load(cls, content: bytes) -> Forest:
        """Read what :meth:`dump` gave.

        Raises:
            UnreadableState: it is none, or of other features than are described here.
        """
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
                text = packed.read(_LARGEST_BYTES)
            stored = load(StoredForest, text, "trees")
        except (OSError, EOFError, UnreadableDocumentError) as error:
            msg = f"its trees can't be read: {error}"
            raise UnreadableState(msg) from error
        if stored.columns != COLUMNS:
            other = sorted(set(stored.columns) ^ set(COLUMNS))
            msg = (
                f"its trees were fitted to other features than are described here: {', '.join(other) or 'their order'}"
            )
            raise UnreadableState(msg)
        points, order, spread = Trees(stored.points), Trees(stored.order), Trees(stored.spread)
        return cls(Vocabulary(stored.words), points, order, stored.slope, stored.intercept, spread)


def fit_forest(known: Experience, seed: int) -> Forest:
    """Trees fitted to all runs that are known."""
    vocabulary, lessons = Vocabulary.of(known.runs), Lessons.of(known)
    return fitted(lessons, vocabulary, judged(known, lessons, vocabulary, seed), seed)


def fitted(lessons: Lessons, vocabulary: Vocabulary, worth: LeftOut, seed: int) -> Forest:
    """Trees fitted to lessons, and to what experts were off on datasets that they had not seen."""
    points = fit(vocabulary.encode(lessons.points), lessons.reached, CODED, seed, weights=lessons.weights)
    order = fit(vocabulary.encode(lessons.placed), lessons.places, CODED, seed, weights=lessons.placed_weights)
    spread = fit(worth.asked, distances(worth.mixed, worth.reached), CODED, seed, members=1)
    return Forest(vocabulary, points, order, worth.slope, worth.intercept, spread)


def calibrated(worth: LeftOut, seed: int) -> Intervals:
    """Intervals whose width follows from spreads foretold of datasets other than those they were fitted to."""
    off = distances(worth.mixed, worth.reached)
    spread = np.empty_like(off)
    for part in folds_of(sorted(set(worth.datasets_asked))):
        asked = np.isin(worth.datasets_asked, part)
        seen = ~asked if not asked.all() else asked
        trees = fit(worth.asked[seen], off[seen], CODED, seed, members=1)
        spread[asked] = np.maximum(trees.predict(worth.asked[asked]), LEAST_SPREAD)
    return Intervals.of(worth.mixed, worth.reached, spread)


def digest_of(stored: bytes) -> str:
    """What stored trees are named after."""
    return digest(stored)
