"""The predictors by name, how they are loaded, and learning that leaves out what would make one diverge."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.errors import UnreadableState
from nasoa_runtime.online.predictor import AdaptiveMLP, FixedMLP

_DIVERGED = 100.0
"""An accuracy predicted as more than this, just after the outcome was learned, is a network out of control."""
_FIXED = re.compile(r"fixed-mlp-([1-9][0-9]?)")

PREDICTORS = ("adaptive-mlp", "fixed-mlp-3", "fixed-mlp-6", "fixed-mlp-10", "fixed-mlp-14")
"""The paper's algorithm and its baselines; ``fixed-mlp-L`` exists for every L from 1 to 99."""


def learned(network: AdaptiveMLP, features: NDArray[np.floating], accuracy: float) -> AdaptiveMLP:
    """A network that has also learned this outcome; ``network`` itself, unchanged, if the step makes it diverge.

    Gradients are not clipped, so an absurd stream can throw a network off for good. One outcome left out is better.
    """
    result = network.copy()
    with np.errstate(over="ignore", invalid="ignore"):
        try:
            result.update(features, accuracy)
            return result if abs(result.predict_one(features)) < _DIVERGED else network
        except FloatingPointError:
            return network


def make_predictor(name: str, inputs: int, seed: int = 0, *, input_energy: float | None = None) -> AdaptiveMLP:
    """The predictor called ``name``: ``adaptive-mlp`` or ``fixed-mlp-L``. See :class:`AdaptiveMLP`.

    Raises:
        ValueError: there is no predictor of that name.
    """
    if name == AdaptiveMLP.algorithm:
        return AdaptiveMLP(inputs, seed, input_energy=input_energy)
    if fixed := _FIXED.fullmatch(name):
        return FixedMLP(int(fixed[1]), inputs, seed, input_energy=input_energy)
    msg = f"unknown predictor {name!r}: write adaptive-mlp or fixed-mlp-L, L the number of layers"
    raise ValueError(msg)


def load_predictor(name: str, parameters: Mapping[str, NDArray[np.floating]], inputs: int) -> AdaptiveMLP:
    """The predictor called ``name`` with the ``parameters`` that :meth:`AdaptiveMLP.dump` gave.

    Raises:
        UnreadableState: a parameter is missing, of another shape than the rest, or not finite.
    """
    try:
        fresh = make_predictor(name, 1)
    except ValueError as error:
        raise UnreadableState(str(error)) from error
    expected = {key: value.shape for key, value in fresh.dump().items()}
    expected["first"] = (expected["first"][0], inputs)
    for key, shape in expected.items():
        if key not in parameters:
            msg = f"parameter {key!r} of the predictor is missing"
            raise UnreadableState(msg)
        value = parameters[key]
        if value.dtype.kind != "f" or value.shape != shape:
            msg = f"parameter {key!r} must be {shape} floats, not {value.shape} of {value.dtype}"
            raise UnreadableState(msg)
        if not np.isfinite(value).all():
            msg = f"parameter {key!r} is not finite"
            raise UnreadableState(msg)
    alpha = parameters["alpha"]
    if (alpha < 0).any() or not math.isclose(float(alpha.sum()), 1.0, rel_tol=1e-6):
        msg = "parameter 'alpha' must be non-negative and sum to 1"
        raise UnreadableState(msg)
    return fresh.load(parameters, fresh.eta, fresh.beta)
