"""The adaptive MLP of the paper (section "Online"), and the fixed MLPs that are its baselines.

A network of L hidden layers has a head at each of them. With ``h_0 = x``::

    h_l = ReLU(Phi_l h_{l-1} + b_l)        f_l = h_l . W_l + c_l        prediction = sum_l alpha_l f_l

Hedge backpropagation on an outcome y, with every right-hand side from before the update::

    W_l   <- W_l   - eta alpha_l d(f_l - y)^2/dW_l
    Phi_l <- Phi_l - eta sum_{j >= l} alpha_j d(f_j - y)^2/dPhi_l
    alpha_l <- alpha_l beta^min(1, (f_l - y)^2), renormalised

The sum over heads needs one backward pass, not L of them: the error that reaches layer l is
``delta_l = ReLU'(h_l) * (alpha_l 2 (f_l - y) W_l + Phi_{l+1}^T delta_{l+1})``.

A fixed MLP of depth L is the same network with all of alpha on the last head and beta = 1, so that it stays there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Self

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.hedge import hedge

Floats = NDArray[np.float32]

DEPTH = 10
UNITS = 64
ETA = 0.01
BETA = 0.99
FIRST_HEAD_BIAS = 0.3
"""Heads start at a middling accuracy, so that the first predictions are not absurd."""
_ROWS_AT_ONCE = 1024
"""Two activations of this many rows stay in the second-level cache while they pass through the layers."""


class AdaptiveMLP:
    """The paper's predictor. Computes in float32; ``update`` and ``grow`` change it, nothing else does."""

    algorithm = "adaptive-mlp"

    def __init__(
        self,
        inputs: int,
        seed: int = 0,
        *,
        depth: int = DEPTH,
        units: int = UNITS,
        eta: float = ETA,
        beta: float = BETA,
        input_energy: float | None = None,
    ) -> None:
        """Draw the weights (He initialisation) from ``seed``; ``alpha`` starts uniform.

        Args:
            inputs: number of input columns.
            seed: of all weights.
            depth: L, the number of hidden layers.
            units: width of each of them.
            eta: step size.
            beta: discount of a head's weight.
            input_energy: expected squared norm of an input, which is what He initialisation takes the number of
                inputs for; ``inputs`` without it. Sparse or large columns make the two differ.
        """
        if inputs < 1 or depth < 1 or units < 1:
            msg = f"inputs, depth and units must be at least 1, not {inputs}, {depth} and {units}"
            raise ValueError(msg)
        random = np.random.default_rng(seed)
        self.eta = eta
        self.beta = beta
        self._first = _normal(random, (units, inputs), fan_in=input_energy or inputs)
        self._phi = _normal(random, (depth - 1, units, units), fan_in=units)
        self._phi_bias = np.zeros((depth, units), np.float32)
        self._head = _normal(random, (depth, units), fan_in=units)
        self._head_bias = np.full(depth, FIRST_HEAD_BIAS, np.float32)
        self._alpha = np.full(depth, 1.0 / depth)
        self._allocate()

    @property
    def inputs(self) -> int:
        """Number of input columns."""
        return int(self._first.shape[1])

    @property
    def depth(self) -> int:
        """Number of hidden layers, and of heads."""
        return int(self._head.shape[0])

    @property
    def alpha(self) -> NDArray[np.float64]:
        """Weights of the heads, shape (L,), a copy; they sum to 1."""
        return self._alpha.copy()

    def predict(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Predicted accuracies, shape (n,), of ``features``, shape (n, inputs). No side effects.

        They may lie outside [0, 1], where they still rank; :func:`as_accuracies` is for what people are shown.
        """
        rows = np.ascontiguousarray(features, np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.inputs:
            msg = f"features must have shape (n, {self.inputs}), not {rows.shape}"
            raise ValueError(msg)
        weights = (self._alpha[:, None] * self._head).astype(np.float32)
        result = np.full(rows.shape[0], self._alpha @ self._head_bias)
        size = min(rows.shape[0], _ROWS_AT_ONCE)
        buffers = np.empty((2, size, self._head.shape[1]), np.float32)
        for start in range(0, rows.shape[0], _ROWS_AT_ONCE):
            activation = rows[start : start + _ROWS_AT_ONCE]
            count = activation.shape[0]
            for layer in range(self.depth):
                matrix = self._first if layer == 0 else self._phi[layer - 1]
                target = buffers[layer % 2, :count]
                np.matmul(activation, matrix.T, out=target)
                target += self._phi_bias[layer]
                np.maximum(target, 0.0, out=target)
                result[start : start + count] += target @ weights[layer]
                activation = target
        return result

    def predict_one(self, features: NDArray[np.floating]) -> float:
        """Prediction of one row, shape (inputs,); what :meth:`predict` gives, in half the time."""
        return float(self._alpha @ self._forward(np.ascontiguousarray(features, np.float32)))

    def update(self, features: NDArray[np.floating], accuracy: float) -> None:
        """Take in one outcome: ``features`` of shape (inputs,) gave ``accuracy``.

        Raises:
            ValueError: the accuracy is outside [0, 1] or the features are of another shape.
            FloatingPointError: the heads' outputs are not finite; nothing has been changed.
        """
        if not 0.0 <= accuracy <= 1.0:
            msg = f"accuracy must lie in [0, 1], not {accuracy}"
            raise ValueError(msg)
        row = np.ascontiguousarray(features, np.float32)
        if row.shape != (self.inputs,):
            msg = f"features must have shape ({self.inputs},), not {row.shape}"
            raise ValueError(msg)
        hidden = self._hidden
        errors = self._forward(row) - accuracy
        if not np.isfinite(errors).all():
            msg = "the predictor's heads are not finite"
            raise FloatingPointError(msg)
        error_gradients = (2.0 * self._alpha * errors).astype(np.float32)
        deltas = self._backward(error_gradients)
        # From here on parameters change: everything above used those from before the update.
        steps = (-self.eta * error_gradients).astype(np.float32)
        np.multiply(hidden, steps[:, None], out=self._head_step)
        self._head += self._head_step
        self._head_bias += steps
        deltas *= np.float32(-self.eta)
        np.multiply(deltas[0][:, None], row[None, :], out=self._first_step)
        self._first += self._first_step
        np.multiply(deltas[1:, :, None], hidden[:-1, None, :], out=self._phi_step)
        self._phi += self._phi_step
        self._phi_bias += deltas
        self._alpha = hedge(self._alpha, errors * errors, self.beta)

    def grow(self, columns: int = 1) -> None:
        """Add input columns behind the others. Their weights start at zero, so that no prediction changes."""
        empty = np.zeros((self._first.shape[0], columns), np.float32)
        self._first = np.ascontiguousarray(np.hstack([self._first, empty]))
        self._allocate()

    @classmethod
    def load(cls, parameters: Mapping[str, NDArray[np.floating]], eta: float, beta: float) -> Self:
        """The network with the ``parameters`` that :meth:`dump` gave, which must fit each other."""
        network = cls.__new__(cls)
        network.eta = eta
        network.beta = beta
        network._adopt(parameters)  # noqa: SLF001 - a constructor by another name
        return network

    def copy(self) -> Self:
        """A network of its own with the same parameters."""
        return self.load(self.dump(), self.eta, self.beta)

    def dump(self) -> dict[str, NDArray[np.floating]]:
        """All that was learned, as copies, by name; :meth:`load` is the way back."""
        return {
            "first": self._first.copy(),
            "phi": self._phi.copy(),
            "phi_bias": self._phi_bias.copy(),
            "head": self._head.copy(),
            "head_bias": self._head_bias.copy(),
            "alpha": self._alpha.copy(),
        }

    def _forward(self, row: Floats) -> NDArray[np.float64]:
        """Fill ``_hidden``, shape (L, units), and return the heads' outputs, shape (L,)."""
        hidden = self._hidden
        previous = row
        for layer in range(self.depth):
            current = hidden[layer]
            np.dot(self._first if layer == 0 else self._phi[layer - 1], previous, out=current)
            current += self._phi_bias[layer]
            np.maximum(current, 0.0, out=current)
            previous = current
        outputs: NDArray[np.float64] = np.einsum("lu,lu->l", hidden, self._head).astype(np.float64)
        outputs += self._head_bias
        return outputs

    def _backward(self, error_gradients: Floats) -> Floats:
        """One pass from the last layer to the first; returns d(sum_l alpha_l loss_l)/d(pre-activation), (L, units)."""
        deltas = self._deltas
        np.multiply(self._head, error_gradients[:, None], out=deltas)
        np.greater(self._hidden, 0.0, out=self._active)
        deltas[-1] *= self._active[-1]
        for layer in range(self.depth - 2, -1, -1):
            np.dot(deltas[layer + 1], self._phi[layer], out=self._carried)
            deltas[layer] += self._carried
            deltas[layer] *= self._active[layer]
        return deltas

    def _allocate(self) -> None:
        """Buffers that every update writes into, so that an update allocates next to nothing."""
        depth, units = self._head.shape
        self._hidden = np.empty((depth, units), np.float32)
        self._active = np.empty((depth, units), np.bool_)
        self._deltas = np.empty((depth, units), np.float32)
        self._carried = np.empty(units, np.float32)
        self._head_step = np.empty_like(self._head)
        self._first_step = np.empty_like(self._first)
        self._phi_step = np.empty_like(self._phi)

    def _adopt(self, parameters: Mapping[str, NDArray[np.floating]]) -> None:
        self._first, self._phi, self._phi_bias, self._head, self._head_bias = (
            np.array(parameters[name], np.float32, order="C")
            for name in ("first", "phi", "phi_bias", "head", "head_bias")
        )
        self._alpha = np.array(parameters["alpha"], np.float64)
        self._allocate()


class FixedMLP(AdaptiveMLP):
    """A plain MLP of ``depth`` layers: the last head alone counts, and its weight never changes."""

    algorithm = "fixed-mlp"

    def __init__(
        self,
        depth: int,
        inputs: int,
        seed: int = 0,
        *,
        units: int = UNITS,
        eta: float = ETA,
        input_energy: float | None = None,
    ) -> None:
        """Draw the weights as :class:`AdaptiveMLP` does."""
        super().__init__(inputs, seed, depth=depth, units=units, eta=eta, beta=1.0, input_energy=input_energy)
        self._alpha = np.zeros(depth)
        self._alpha[-1] = 1.0


def _normal(random: np.random.Generator, shape: tuple[int, ...], fan_in: float) -> Floats:
    """He initialisation: the variance of a ReLU layer's input is kept."""
    return (random.standard_normal(shape) * math.sqrt(2.0 / fan_in)).astype(np.float32)


def as_accuracies(predicted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Predictions as they are shown and recorded: in [0, 1]."""
    return np.clip(predicted, 0.0, 1.0)
