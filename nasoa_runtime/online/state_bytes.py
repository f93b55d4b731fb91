"""A predictor's state as bytes: one npz (read with ``allow_pickle=False``), the arrays by name and JSON under ``meta``.

Equal states have equal bytes, so a digest identifies a state.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.algorithms import load_predictor
from nasoa_runtime.online.encoder import Encoder
from nasoa_runtime.online.errors import UnreadableState
from nasoa_runtime.online.features import REQUEST_FEATURES, Feature, FeatureTable
from nasoa_runtime.online.state import PredictorState

FORMAT = "nasoa-predictor"
FORMAT_VERSION = 1
_LARGEST_BYTES = 1 << 28


def dump(state: PredictorState) -> bytes:
    """The state as npz; :func:`load` is the way back."""
    meta = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "algorithm": state.algorithm,
        "version": state.version,
        "layout_version": state.layout_version,
        "layout": list(state.encoder.layout),
        "table": [_told(feature) for feature in state.encoder.table],
        "models": list(state.encoder.models),
        "applied_uids": list(state.applied_uids),
        "warm_start": state.warm_start,
    }
    document = json.dumps(meta, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    arrays: dict[str, NDArray[Any]] = {f"network.{name}": value for name, value in sorted(state.network.dump().items())}
    arrays["encoder.counts"] = state.encoder.counts
    arrays["encoder.means"] = state.encoder.means
    arrays["encoder.squares"] = state.encoder.squares
    arrays["meta"] = np.frombuffer(document, np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def load(content: bytes, table: FeatureTable = REQUEST_FEATURES) -> PredictorState:
    """Read what :func:`dump` wrote of a predictor whose features are ``table``'s.

    Raises:
        UnreadableState: with what is wrong; the caller names the object and leaves it alone.
    """
    arrays = _read_arrays(content)
    meta = _read_meta(arrays)
    try:
        models = tuple(str(model) for model in meta["models"])
        layout = tuple(meta["layout"])
        version, layout_version = _count(meta["version"]), _count(meta["layout_version"])
        applied = tuple(str(uid) for uid in meta["applied_uids"])
        algorithm = str(meta["algorithm"])
        warm_start = None if meta.get("warm_start") is None else str(meta["warm_start"])
        problem = _other_features(meta["table"], table)
    except (KeyError, TypeError, ValueError) as error:
        msg = f"the metadata lacks something or has a wrong type: {error!r}"
        raise UnreadableState(msg) from error
    if problem is not None:
        raise UnreadableState(problem)
    counts, means, squares = (_statistic(arrays, name, len(table)) for name in ("counts", "means", "squares"))
    encoder = Encoder(table, counts, means, squares, models)
    if encoder.layout != layout:
        msg = "the columns' names do not follow from the table of features"
        raise UnreadableState(msg)
    parameters = {name.removeprefix("network."): value for name, value in arrays.items() if name.startswith("network.")}
    network = load_predictor(algorithm, parameters, encoder.width)
    return PredictorState(algorithm, encoder, network, version, layout_version, applied, warm_start)


def _told(feature: Feature) -> dict[str, Any]:
    """What of a feature decides how the network's input is made: all but where its value comes from."""
    return {name: getattr(feature, name) for name in ("name", "transform", "typical", "spread", "optional")}


def _other_features(stored: Sequence[Mapping[str, Any]], table: FeatureTable) -> str | None:
    """In what the features of a state differ from ``table``'s: its weights would be given other numbers than before."""
    known, found = {feature.name: _told(feature) for feature in table}, {fields["name"]: fields for fields in stored}
    changed = [name for name, fields in found.items() if name in known and fields != known[name]]
    for names, problem in (
        ([name for name in found if name not in known], "it has learned from features that are unknown here"),
        ([name for name in known if name not in found], "it has never seen features that are described here"),
        (changed, "it has learned from features that are transformed otherwise here"),
    ):
        if names:
            return f"{problem}: {', '.join(names)}"
    return None


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
