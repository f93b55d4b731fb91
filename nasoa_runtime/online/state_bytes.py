"""A predictor's state as bytes: one npz (read with ``allow_pickle=False``), the arrays by name and JSON under ``meta``.

Equal states have equal bytes, so a digest identifies a state.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.documents.base import UnreadableDocumentError
from nasoa_runtime.documents.base import dump as dump_document
from nasoa_runtime.documents.base import load as load_document
from nasoa_runtime.documents.predictor import (
    PredictorMeta,
    StoredFeature,
    StoredHedge,
    StoredIntervals,
    StoredResiduals,
)
from nasoa_runtime.online.algorithms import load_predictor
from nasoa_runtime.online.encoder import Encoder
from nasoa_runtime.online.errors import UnreadableState
from nasoa_runtime.online.experts import NetworkExpert, Past, TreeExpert
from nasoa_runtime.online.features import NETWORK_FEATURES, PAPER_FEATURES, Feature, FeatureTable
from nasoa_runtime.online.forest import Forest
from nasoa_runtime.online.hedged import Hedged
from nasoa_runtime.online.intervals import Intervals
from nasoa_runtime.online.paper import PaperPredictor
from nasoa_runtime.online.predictor import AdaptiveMLP
from nasoa_runtime.online.residuals import Residuals
from nasoa_runtime.online.state import PredictorState

_LARGEST_BYTES = 1 << 28


def dump(state: PredictorState) -> bytes:
    """The state as npz; :func:`load` is the way back. Trees are named by their digest and stored apart."""
    predictor = state.predictor
    paper = predictor if isinstance(predictor, PaperPredictor) else predictor.network
    encoder = paper.encoder
    meta = PredictorMeta(
        algorithm=state.algorithm,
        version=state.version,
        layout_version=state.layout_version,
        layout=encoder.layout,
        table=tuple(_told(feature) for feature in encoder.table),
        models=encoder.models,
        applied_uids=state.applied_uids,
        warm_start=state.warm_start,
        intervals=StoredIntervals(width=state.intervals.width, start=state.intervals.start),
        adoptions=state.adoptions,
        hedge=_stored_hedge(predictor) if isinstance(predictor, Hedged) else None,
    )
    arrays: dict[str, NDArray[Any]] = {f"network.{name}": value for name, value in sorted(paper.network.dump().items())}
    arrays["encoder.counts"] = encoder.counts
    arrays["encoder.means"] = encoder.means
    arrays["encoder.squares"] = encoder.squares
    if isinstance(predictor, Hedged):
        arrays["hedge.weights"] = predictor.weights
        arrays["past.rows"] = predictor.network.past.rows
        arrays["past.accuracies"] = predictor.network.past.accuracies
    arrays["meta"] = np.frombuffer(dump_document(meta), np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def load(
    content: bytes,
    forest_of: Callable[[str], Forest] | None = None,
    table: FeatureTable = PAPER_FEATURES,
    network_table: FeatureTable = NETWORK_FEATURES,
) -> PredictorState:
    """Read what :func:`dump` wrote.

    Args:
        content: the bytes.
        forest_of: finds trees by their digest; only asked for a ``hedge`` that has some.
        table: the features of the paper's predictors.
        network_table: those of the network of ``hedge``.

    Raises:
        UnreadableState: with what is wrong; the caller names the object and leaves it alone.
    """
    arrays = _read_arrays(content)
    meta = _read_meta(arrays)
    table = table if meta.hedge is None else network_table
    problem = _other_features(meta.table, table)
    if problem is not None:
        raise UnreadableState(problem)
    counts, means, squares = (_array(arrays, f"encoder.{name}", len(table)) for name in ("counts", "means", "squares"))
    encoder = Encoder(table, counts, means, squares, meta.models)
    if encoder.layout != meta.layout:
        msg = "the columns' names do not follow from the table of features"
        raise UnreadableState(msg)
    parameters = {name.removeprefix("network."): value for name, value in arrays.items() if name.startswith("network.")}
    intervals = Intervals(meta.intervals.width, meta.intervals.start)
    predictor: Hedged | PaperPredictor
    if meta.hedge is None:
        network = load_predictor(meta.algorithm, parameters, encoder.width)
        predictor = PaperPredictor(meta.algorithm, encoder, network, intervals)
    else:
        network = load_predictor(AdaptiveMLP.algorithm, parameters, encoder.width)
        predictor = _loaded_hedge(meta, meta.hedge, arrays, encoder, network, intervals, forest_of)
    return PredictorState(
        predictor, meta.version, meta.layout_version, meta.applied_uids, meta.warm_start, meta.adoptions
    )


def _stored_hedge(predictor: Hedged) -> StoredHedge:
    network = predictor.network
    return StoredHedge(
        seed=network.seed,
        forest=predictor.forest_digest,
        residuals=tuple(
            StoredResiduals(
                zoo=expert.residuals.zoo,
                datasets=tuple((name, *figures) for name, figures in expert.residuals.datasets.items()),
            )
            for expert in predictor.experts
        ),
        past_models=network.past.models,
        past_seen=network.past.seen,
    )


def _loaded_hedge(
    meta: PredictorMeta,
    stored: StoredHedge,
    arrays: Mapping[str, NDArray[Any]],
    encoder: Encoder,
    network: AdaptiveMLP,
    intervals: Intervals,
    forest_of: Callable[[str], Forest] | None,
) -> Hedged:
    trees: tuple[TreeExpert, ...] = ()
    forest: Forest | None = None
    if stored.forest is not None:
        if forest_of is None:
            msg = f"its trees {stored.forest} are stored apart, and nothing says where"
            raise UnreadableState(msg)
        forest = forest_of(stored.forest)
        trees = forest.experts
    if len(stored.residuals) != len(trees) + 1:
        msg = f"it has residuals of {len(stored.residuals)} experts, not of {len(trees) + 1}"
        raise UnreadableState(msg)
    *of_trees, of_network = (
        Residuals(found.zoo, {name: (total, count) for name, total, count in found.datasets})
        for found in stored.residuals
    )
    weights = _array(arrays, "hedge.weights", len(stored.residuals))
    if (weights < 0).any() or not np.isclose(weights.sum(), 1.0):
        msg = "the experts' weights must be non-negative and sum to 1"
        raise UnreadableState(msg)
    remembered = len(stored.past_models)
    past = Past(
        _array(arrays, "past.rows", remembered, len(encoder.table), missing=True),
        stored.past_models,
        _array(arrays, "past.accuracies", remembered),
        stored.past_seen,
    )
    expert = NetworkExpert(stored.seed, encoder, network, past, of_network)
    told = (replace(tree, residuals=own) for tree, own in zip(trees, of_trees, strict=True))
    return Hedged(forest, (*told, expert), weights, intervals, meta.version, stored.forest)


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


def _array(arrays: Mapping[str, NDArray[Any]], name: str, *shape: int, missing: bool = False) -> NDArray[np.float64]:
    value = arrays.get(name)
    usable = value is not None and value.shape == shape and value.dtype.kind == "f"
    if value is None or not usable or not (missing or np.isfinite(value).all()):
        msg = f"{name} must be {' x '.join(map(str, shape))} finite floats"
        raise UnreadableState(msg)
    return value.astype(np.float64)
