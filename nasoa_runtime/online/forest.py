"""The trees of ``hedge``: both experts' boosters and what they need, fitted together and stored as one document."""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass

from nasoa_runtime.boundary import digest
from nasoa_runtime.documents.base import UnreadableDocumentError, dump, load
from nasoa_runtime.documents.predictor import StoredForest
from nasoa_runtime.online.errors import UnreadableState
from nasoa_runtime.online.experience import Experience
from nasoa_runtime.online.experts import TreeExpert
from nasoa_runtime.online.left_out import line_left_out
from nasoa_runtime.online.lessons import Lessons
from nasoa_runtime.online.trees import MEMBERS, Trees, fit
from nasoa_runtime.online.vocabulary import CODED, COLUMNS, Vocabulary

_LARGEST_BYTES = 1 << 28


@dataclass(frozen=True)
class Forest:
    """The trees of both experts, and the line of the second."""

    vocabulary: Vocabulary
    points: Trees
    order: Trees
    slope: float
    intercept: float

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
        vocabulary = Vocabulary(stored.words)
        return cls(vocabulary, Trees(stored.points), Trees(stored.order), stored.slope, stored.intercept)


def fit_forest(known: Experience, seed: int) -> Forest:
    """Trees fitted to all runs that are known."""
    vocabulary, lessons = Vocabulary.of(known.runs), Lessons.of(known)
    return fitted(lessons, vocabulary, line_left_out(known, lessons, vocabulary, seed), seed)


def fitted(lessons: Lessons, vocabulary: Vocabulary, line: tuple[float, float], seed: int) -> Forest:
    """Trees fitted to lessons; ``line`` is the slope and intercept of the order."""
    points = fit(vocabulary.encode(lessons.points), lessons.reached, CODED, seed, MEMBERS)
    order = fit(vocabulary.encode(lessons.placed), lessons.places, CODED, seed, MEMBERS)
    return Forest(vocabulary, points, order, *line)


def digest_of(stored: bytes) -> str:
    """What stored trees are named after."""
    return digest(stored)
