"""Descriptions as trees get them: numbers after their transforms, words as codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.description import Batch
from nasoa_runtime.online.encoder import apply_transforms
from nasoa_runtime.online.features import NUMBERS, RUN_WORDS

Floats = NDArray[np.float64]
COLUMNS = tuple(feature.name for feature in (*NUMBERS, *RUN_WORDS))
"""What trees see, by name."""
CODED = tuple(range(len(NUMBERS), len(COLUMNS)))
"""Those of the columns that are codes of words."""


@dataclass(frozen=True)
class Vocabulary:
    """The words of each category that were met when trees were fitted, in the order of the table of words."""

    words: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, runs: Batch) -> Vocabulary:
        """The words of ``runs``, sorted, so that equal runs give equal codes."""
        return cls(tuple(tuple(sorted(set(runs.words[word.name]) - {None})) for word in RUN_WORDS))

    def encode(self, runs: Batch) -> Floats:
        """The trees' input, shape (n, columns), to be read only; NaN is missing, or a word that was not met.

        Both experts ask for the same, so it is kept with the runs.
        """
        if self not in runs.encoded:
            runs.encoded[self] = self._encode(runs)
        return runs.encoded[self]

    def _encode(self, runs: Batch) -> Floats:
        result = np.empty((len(runs), len(COLUMNS)))
        result[:, : len(NUMBERS)] = apply_transforms(NUMBERS, runs)
        for place, (feature, words) in enumerate(zip(RUN_WORDS, self.words, strict=True)):
            code = {word: float(index) for index, word in enumerate(words)}
            result[:, len(NUMBERS) + place] = [code.get(word, np.nan) for word in runs.words[feature.name].tolist()]
        return result
