"""A predictor's state as bytes: one npz (read with ``allow_pickle=False``), the arrays by name and JSON under ``meta``.

Equal states have equal bytes, so a digest identifies a state.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.documents.base import UnreadableDocumentError
from nasoa_runtime.documents.base import dump as dump_document
from nasoa_runtime.documents.base import load as load_document
from nasoa_runtime.documents.predictor import PredictorMeta, StoredFeature
from nasoa_runtime.online.algorithms import load_predictor
from nasoa_runtime.online.encoder import Encoder
from nasoa_runtime.online.errors import UnreadableState
from nasoa_runtime.online.features import REQUEST_FEATURES, Feature, FeatureTable
from nasoa_runtime.online.state import PredictorState

_LARGEST_BYTES = 1 << 28


def dump(state: PredictorState) -> bytes:
    """The state as npz; :func:`load` is the way back."""
    meta = PredictorMeta(
        algorithm=state.algorithm,
        version=state.version,
        layout_version=state.layout_version,
        layout=state.encoder.layout,
        table=tuple(_told(feature) for feature in state.encoder.table),
        models=state.encoder.models,
        applied_uids=state.applied_uids,
        warm_start=state.warm_start,
    )
    arrays: dict[str, NDArray[Any]] = {f"network.{name}": value for name, value in sorted(state.network.dump().items())}
    arrays["encoder.counts"] = state.encoder.counts
    arrays["encoder.means"] = state.encoder.means
    arrays["encoder.squares"] = state.encoder.squares
    arrays["meta"] = np.frombuffer(dump_document(meta), np.uint8)
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
    problem = _other_features(meta.table, table)
    if problem is not None:
        raise UnreadableState(problem)
    counts, means, squares = (_statistic(arrays, name, len(table)) for name in ("counts", "means", "squares"))
    encoder = Encoder(table, counts, means, squares, meta.models)
    if encoder.layout != meta.layout:
        msg = "the columns' names do not follow from the table of features"
        raise UnreadableState(msg)
    parameters = {name.removeprefix("network."): value for name, value in arrays.items() if name.startswith("network.")}
    network = load_predictor(meta.algorithm, parameters, encoder.width)
    return PredictorState(
        meta.algorithm, encoder, network, meta.version, meta.layout_version, meta.applied_uids, meta.warm_start
    )


def _told(feature: Feature) -> StoredFeature:
    return StoredFeature(
        name=feature.name,
        transform=feature.transform,
        typical=feature.typical,
        spread=feature.spread,
        optional=feature.optional,
    )


def _other_features(stored: Sequence[StoredFeature], table: FeatureTable) -> str | None:
    """In what the features of a state differ from ``table``'s: its weights would be given other numbers than before."""
    known, found = {feature.name: _told(feature) for feature in table}, {feature.name: feature for feature in stored}
    changed = [name for name, feature in found.items() if name in known and feature != known[name]]
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


def _read_meta(arrays: Mapping[str, NDArray[Any]]) -> PredictorMeta:
    if "meta" not in arrays:
        msg = "it has no metadata"
        raise UnreadableState(msg)
    try:
        return load_document(PredictorMeta, arrays["meta"].tobytes(), "meta")
    except UnreadableDocumentError as error:
        msg = f"its metadata can't be read: {error.reason}"
        raise UnreadableState(msg) from error


def _statistic(arrays: Mapping[str, NDArray[Any]], name: str, length: int) -> NDArray[np.float64]:
    value = arrays.get(f"encoder.{name}")
    if value is None or value.shape != (length,) or value.dtype.kind != "f" or not np.isfinite(value).all():
        msg = f"the encoder's {name} must be {length} finite floats"
        raise UnreadableState(msg)
    return value.astype(np.float64)
