"""Gradient-boosted trees, as text: fitted by LightGBM, equal bytes for equal data and seed.

LightGBM is imported when trees are first fitted or asked: it takes a while, and the operator does neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MEMBERS = 3
"""Boosters of different seeds, whose mean predicts: a choice among a hundred should not hang on one seed's sampling."""
ROUNDS = 80
_PARAMETERS: dict[str, Any] = {
    "objective": "regression",
    "learning_rate": 0.1,
    "num_leaves": 31,
    "min_data_in_leaf": 20,
    # Two columns, drop and stoch_norm, decide more than all others: most trees must be offered both.
    "feature_fraction": 0.7,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 1.0,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbose": -1,
}


@dataclass(frozen=True)
class Trees:
    """A fitted ensemble. Its texts are all there is: LightGBM's own format, no pickle."""

    texts: tuple[str, ...]

    def predict(self, features: Floats) -> Floats:
        """The members' mean, shape (n,), of ``features``, shape (n, columns); NaN is missing."""
        result: Floats = np.mean([booster.predict(features, num_threads=1) for booster in self._boosters], axis=0)
        return result

    def contributions(self, features: Floats) -> Floats:
        """What each column contributes to the mean of the members' predictions, shape (n, columns).

        They sum to the prediction less what is predicted where nothing is known.
        """
        shares = [booster.predict(features, num_threads=1, pred_contrib=True) for booster in self._boosters]
        result: Floats = np.mean(shares, axis=0)[:, :-1]
        return result

    @cached_property
    def _boosters(self) -> list[Any]:
        import lightgbm  # noqa: PLC0415 - see above

        return [lightgbm.Booster(model_str=text) for text in self.texts]


def fit(
    features: Floats,
    targets: Floats,
    coded: Sequence[int],
    seed: int,
    members: int = MEMBERS,
    weights: Floats | None = None,
) -> Trees:
    """Fit ``members`` boosters to ``targets``, shape (n,), with squared loss.

    Args:
        features: shape (n, columns); NaN is missing.
        targets: what is predicted.
        coded: the columns that are codes of categories.
        seed: of what each tree is shown of rows and columns.
        members: how many boosters there are.
        weights: how much each row counts, shape (n,); all alike without them.
    """
    import lightgbm  # noqa: PLC0415 - see above

    texts = []
    # A few rows still give a tree; a leaf of twenty would leave one with nothing but the mean.
    leaf = min(int(_PARAMETERS["min_data_in_leaf"]), max(1, len(targets) // 10))
    for member in range(members):
        parameters = _PARAMETERS | {"seed": seed * 1000 + member, "min_data_in_leaf": leaf}
        data = lightgbm.Dataset(features, targets, weight=weights, categorical_feature=list(coded), params=parameters)
        booster = lightgbm.train(parameters, data, num_boost_round=ROUNDS)
        texts.append(booster.model_to_string())
    return Trees(tuple(texts))
