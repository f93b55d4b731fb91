"""The predictor's whole state as one immutable value: encoder, network, version, and the UIDs it has applied.

Learning gives a new state. Bytes are one npz (read with ``allow_pickle=False``): the arrays by name, and a JSON
document under ``meta``. Equal states have equal bytes, so a digest identifies a state.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.errors import UnreadableState
from nasoa_runtime.online.features import REQUEST_FEATURES, Batch, Described, Encoder, Quantity
from nasoa_runtime.online.predictor import AdaptiveMLP, learned, load_predictor, make_predictor

FORMAT = "nasoa-predictor"
FORMAT_VERSION = 1
APPLIED_WINDOW = 10_000
"""So many UIDs are remembered in the state itself; older ones have a marker object of their own."""
_LARGEST_BYTES = 1 << 28


@dataclass(frozen=True)
class Outcome:
    """A run and the validation accuracy, in [0, 1], that it reached (chance accuracy if it diverged)."""

    run: Described
    accuracy: float


@dataclass(frozen=True, eq=False)
class PredictorState:
    """A predictor as it was after ``version`` outcomes. Never changed in place."""

    algorithm: str
    encoder: Encoder
    network: AdaptiveMLP
    version: int = 0
    """Requests learned from, each counted once."""
    layout_version: int = 0
    """Changes of the columns, each a new model; independent of ``version``."""
    applied_uids: tuple[str, ...] = ()
    """The last :data:`APPLIED_WINDOW` requests learned from, oldest first."""
    warm_start: str | None = None
    """What was learned before the first request; ``None``: nothing."""

    @classmethod
    def new(
        cls,
        algorithm: str = "adaptive-mlp",
        seed: int = 0,
        table: Sequence[Quantity] = REQUEST_FEATURES,
        models: Sequence[str] = (),
    ) -> PredictorState:
        """A predictor that has learned nothing; ``models`` have columns from the start (layout version 0)."""
        encoder = Encoder.new(table)
        network = make_predictor(algorithm, encoder.width, seed, input_energy=encoder.energy)
        fresh = cls(algorithm, encoder, network)
        return replace(fresh.with_models(models), layout_version=0)

    def applied(self, uid: str) -> bool:
        """Whether ``uid`` is among the last requests learned from."""
        return uid in self.applied_uids

    def with_models(self, models: Sequence[str]) -> PredictorState:
        """The state with a column for each of ``models``; no prediction differs by it."""
        new = [model for model in dict.fromkeys(models) if model not in self.encoder.models]
        if not new:
            return self
        encoder, network = self.encoder, self.network.copy()
        for model in new:
            encoder = encoder.grow(model)
        network.grow(len(new))
        return replace(self, encoder=encoder, network=network, layout_version=self.layout_version + len(new))

    def scores(self, batch: Batch) -> NDArray[np.float64]:
        """Predicted accuracies, shape (n,), before they are clipped: for ranking."""
        return self.network.scores(self.encoder.encode(batch))

    def predict(self, runs: Sequence[Described] | Batch) -> NDArray[np.float64]:
        """Predicted accuracies in [0, 1], shape (n,)."""
        batch = runs if isinstance(runs, Batch) else Batch.of(runs, self.encoder.table)
        return np.clip(self.scores(batch), 0.0, 1.0)

    def update(self, outcomes: Sequence[Outcome], uid: str) -> PredictorState:
        """The state after the request ``uid``, with all that its runs showed, in their order.

        A UID that was applied changes nothing: the same object is returned. Models without a column get one. The
        network from before is kept where an outcome would make it diverge.

        Raises:
            ValueError: there is no outcome, or one can't be used (accuracy outside [0, 1], a value not finite).
        """
        if self.applied(uid):
            return self
        if not outcomes:
            msg = f"request {uid} has no outcome to learn from"
            raise ValueError(msg)
        grown = self.with_models([outcome.run.model for outcome in outcomes])
        encoder, network = grown.encoder, grown.network
        for outcome in outcomes:
            batch = Batch.of([outcome.run], encoder.table)
            encoder = encoder.observe(encoder.transform(batch))
            network = learned(network, encoder.encode(batch)[0], outcome.accuracy)
        return replace(
            grown,
            encoder=encoder,
            network=network,
            version=self.version + 1,
            applied_uids=(*self.applied_uids, uid)[-APPLIED_WINDOW:],
        )

    def to_bytes(self) -> bytes:
        """The state as npz; :meth:`from_bytes` is the way back."""
        meta = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "algorithm": self.algorithm,
            "version": self.version,
            "layout_version": self.layout_version,
            "layout": list(self.encoder.layout),
            "table": [asdict(quantity) for quantity in self.encoder.table],
            "models": list(self.encoder.models),
            "applied_uids": list(self.applied_uids),
            "warm_start": self.warm_start,
        }
        document = json.dumps(meta, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
        arrays: dict[str, NDArray[Any]] = {
            f"network.{name}": value for name, value in sorted(self.network.dump().items())
        }
        arrays["encoder.counts"] = self.encoder.counts
        arrays["encoder.means"] = self.encoder.means
        arrays["encoder.squares"] = self.encoder.squares
        arrays["meta"] = np.frombuffer(document, np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> PredictorState:
        """Read what :meth:`to_bytes` wrote.

        Raises:
            UnreadableState: with what is wrong; the caller names the object and leaves it alone.
        """
        arrays = _read_arrays(content)
        meta = _read_meta(arrays)
        try:
            table = tuple(Quantity(**quantity) for quantity in meta["table"])
            models = tuple(str(model) for model in meta["models"])
            layout = tuple(meta["layout"])
            version, layout_version = _count(meta["version"]), _count(meta["layout_version"])
            applied = tuple(str(uid) for uid in meta["applied_uids"])
            algorithm = str(meta["algorithm"])
            warm_start = None if meta.get("warm_start") is None else str(meta["warm_start"])
        except (KeyError, TypeError, ValueError) as error:
            msg = f"the metadata lacks something or has a wrong type: {error!r}"
            raise UnreadableState(msg) from error
        counts, means, squares = (_statistic(arrays, name, len(table)) for name in ("counts", "means", "squares"))
        encoder = Encoder(table, counts, means, squares, models)
        if any(quantity.transform not in {"linear", "log", "log1p"} for quantity in table):
            msg = "a feature has a transform that this version does not know"
            raise UnreadableState(msg)
        if encoder.layout != layout:
            msg = "the columns' names do not follow from the table of features"
            raise UnreadableState(msg)
        parameters = {
            name.removeprefix("network."): value for name, value in arrays.items() if name.startswith("network.")
        }
        network = load_predictor(algorithm, parameters, encoder.width)
        return cls(algorithm, encoder, network, version, layout_version, applied, warm_start)


def _read_arrays(content: bytes) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > _LARGEST_BYTES:
            msg = f"it would unpack to {size} bytes"
            raise UnreadableState(msg)
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError, KeyError) as error:
        if isinstance(error, UnreadableState):
            raise
        msg = f"it is no npz file of plain arrays: {error}"
        raise UnreadableState(msg) from error


def _read_meta(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    if "meta" not in arrays:
        msg = "it has no metadata"
        raise UnreadableState(msg)
    try:
        meta = json.loads(arrays["meta"].tobytes())
    except ValueError as error:
        msg = f"its metadata is not JSON: {error}"
        raise UnreadableState(msg) from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        msg = "its metadata does not say that it is a predictor's state"
        raise UnreadableState(msg)
    if meta.get("format_version") != FORMAT_VERSION:
        msg = f"it has format version {meta.get('format_version')}, this program reads {FORMAT_VERSION}"
        raise UnreadableState(msg)
    return meta


def _statistic(arrays: Mapping[str, NDArray[Any]], name: str, length: int) -> NDArray[np.float64]:
    value = arrays.get(f"encoder.{name}")
    if value is None or value.shape != (length,) or value.dtype.kind != "f" or not np.isfinite(value).all():
        msg = f"the encoder's {name} must be {length} finite floats"
        raise UnreadableState(msg)
    return value.astype(np.float64)


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        msg = f"{value!r} is no count"
        raise ValueError(msg)
    return value
