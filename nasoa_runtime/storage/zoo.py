"""The zoo: its manifest in S3, written by compare-and-swap only.

Files carry a part of their digest in their name where it can change, so what a manifest names never changes under it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nasoa_runtime.boundary import Extractor, StepFactors, StepTime
from nasoa_runtime.documents.base import dump, load
from nasoa_runtime.documents.keys import ZOOS, ZooKeys, extractor_key, zoo_of_manifest
from nasoa_runtime.documents.zoo import (
    IMPORT,
    MOST_PRODUCTS,
    MOST_ROWS,
    NAME,
    RegisteredExtractor,
    ZooManifest,
    ZooModel,
)
from nasoa_runtime.storage.s3 import ObjectStore

__all__ = [
    "IMPORT",
    "MOST_ROWS",
    "NAME",
    "ZooError",
    "ZooManifest",
    "ZooModel",
    "ZooNotFound",
    "ZooOwnedByOther",
    "add_step_times",
    "list_zoos",
    "manifest_uri",
    "publish",
    "read_extractor",
    "read_manifest",
    "weights_uri",
]


class ZooError(Exception):
    """A zoo can't be read or written as asked; trying again would fail again."""


class ZooNotFound(ZooError):  # noqa: N818 - reads as what is wrong
    """There is no zoo of this name."""


class ZooOwnedByOther(ZooError):  # noqa: N818
    """The zoo belongs to another search, or to imports."""


def manifest_uri(bucket: str, zoo: str) -> str:
    """Address of a zoo's manifest."""
    return f"s3://{bucket}/{ZooKeys(zoo).manifest}"


def weights_uri(bucket: str, zoo: str, model: str, weights_digest: str) -> str:
    """Address of a model's weights."""
    return f"s3://{bucket}/{ZooKeys(zoo).weights(model, weights_digest)}"


def read_manifest(store: ObjectStore, bucket: str, zoo: str) -> ZooManifest | None:
    """The zoo's manifest, or ``None`` where there is no such zoo.

    Raises:
        UnreadableDocumentError: there is one that can't be read.
    """
    uri = manifest_uri(bucket, zoo)
    found = store.get(uri)
    return None if found is None else load(ZooManifest, found.body, uri)


def list_zoos(store: ObjectStore, bucket: str) -> tuple[str, ...]:
    """Names of all zoos."""
    found = (zoo_of_manifest(listed.key) for listed in store.list(f"s3://{bucket}/{ZOOS}"))
    return tuple(zoo for zoo in found if zoo is not None)


def read_extractor(store: ObjectStore, bucket: str, name: str) -> Extractor | None:
    """The feature extractor that is registered as ``name``, or ``None`` where there is none.

    Raises:
        UnreadableDocumentError: there is a registration that can't be read.
    """
    uri = f"s3://{bucket}/{extractor_key(name)}"
    found = store.get(uri)
    return None if found is None else load(RegisteredExtractor, found.body, uri).extractor


def publish(
    store: ObjectStore,
    bucket: str,
    zoo: str,
    owner: str,
    models: Sequence[ZooModel],
    sources: Mapping[str, str] | None = None,
    extractor: Extractor | None = None,
) -> ZooManifest:
    """Enter ``models`` in the manifest, replacing those of the same names; again changes nothing.

    Rows and step factors that were measured since for the same weights are kept.

    Args:
        store: S3 with the operator's identity.
        bucket: the system bucket.
        zoo: name; a zoo that does not exist is made.
        owner: UID of the search, or :data:`IMPORT`.
        models: their weights are in the zoo already (:mod:`nasoa_runtime.storage.intake`).
        sources: source name -> URI of its class prototypes (:mod:`nasoa_runtime.storage.intake`).
        extractor: what the prototypes were made with.

    Raises:
        ZooOwnedByOther: the zoo belongs to somebody else.
        ZooError: its prototypes were made with another extractor.
        UnreadableDocumentError: its manifest can't be read; it is left as it is.
    """

    def change(manifest: ZooManifest | None) -> ZooManifest:
        if manifest is None:
            manifest = ZooManifest(name=zoo, owner=owner, version=1)
        if manifest.owner != owner:
            whose = "to imported models" if manifest.owner == IMPORT else f"to the search {manifest.owner}"
            msg = f"zoo {zoo!r} belongs {whose}: publish to a zoo of another name"
            raise ZooOwnedByOther(msg)
        if extractor and manifest.extractor not in {None, extractor} and manifest.sources:
            msg = f"zoo {zoo!r} is pinned to another extractor: its sources' prototypes would not compare"
            raise ZooError(msg)
        new = {model.name: model for model in models}
        kept = [_with_measured_of(new.pop(model.name, model), model) for model in manifest.models]
        return manifest.model_copy(
            update={
                "extractor": extractor or manifest.extractor,
                "sources": manifest.sources | dict(sources or {}),
                "models": (*kept, *new.values()),
            }
        )

    return _update(store, bucket, zoo, change)


def add_step_times(
    store: ObjectStore,
    bucket: str,
    zoo: str,
    rows: Mapping[str, Sequence[StepTime]],
    factors: Mapping[str, StepFactors] | None = None,
) -> ZooManifest:
    """Enter measured rows and step factors; of two for the same setting the first one stored counts.

    Args:
        store: S3 with the operator's identity.
        bucket: the system bucket.
        zoo: name.
        rows: by model name; a model that the zoo no longer has is passed over.
        factors: by model name, likewise.

    Raises:
        ZooNotFound: there is no such zoo.
        UnreadableDocumentError: its manifest can't be read; it is left as it is.
    """

    def factors_of(model: str) -> tuple[StepFactors, ...]:
        return (factors[model],) if factors and model in factors else ()

    def change(manifest: ZooManifest | None) -> ZooManifest:
        if manifest is None:
            msg = f"there is no zoo {zoo!r}"
            raise ZooNotFound(msg)
        merged = tuple(
            _with_measured(model, rows.get(model.name, ()), factors_of(model.name)) for model in manifest.models
        )
        return manifest.model_copy(update={"models": merged})

    return _update(store, bucket, zoo, change)


def _update(
    store: ObjectStore, bucket: str, zoo: str, change: Callable[[ZooManifest | None], ZooManifest]
) -> ZooManifest:
    uri = manifest_uri(bucket, zoo)

    def change_body(body: bytes | None) -> bytes | None:
        before = None if body is None else load(ZooManifest, body, uri)
        after = change(before)
        if before is None:
            return dump(after)
        return None if after == before else dump(after.model_copy(update={"version": before.version + 1}))

    written = store.update(uri, change_body)
    if written is None:
        msg = f"there is no zoo {zoo!r}"
        raise ZooNotFound(msg)
    return load(ZooManifest, written, uri)


def _with_measured_of(model: ZooModel, before: ZooModel) -> ZooModel:
    """``model`` with what was measured for the same weights."""
    if model.weights_digest != before.weights_digest:
        return model
    return _with_measured(model, before.step_times, before.step_factors)


def _with_measured(model: ZooModel, rows: Sequence[StepTime], factors: Sequence[StepFactors]) -> ZooModel:
    table = {_setting(row): row for row in model.step_times}
    for row in rows:
        if len(table) < MOST_ROWS:
            table.setdefault(_setting(row), row)
    known = {_machine(each): each for each in model.step_factors}
    for each in factors:
        # What was not measured before is added, option by option.
        first = known.get(_machine(each), each)
        if _machine(each) in known or len(known) < MOST_PRODUCTS:
            known[_machine(each)] = first.model_copy(update={"factors": {**each.factors, **first.factors}})
    return model.model_copy(update={"step_times": tuple(table.values()), "step_factors": tuple(known.values())})


def _machine(factors: StepFactors) -> tuple[Any, ...]:
    """What factors were measured on."""
    return (factors.device, factors.product, factors.count)


def _setting(row: StepTime) -> tuple[Any, ...]:
    """What a row was measured for: all of it but the seconds."""
    return (
        row.device,
        row.product,
        row.count,
        row.batch_size,
        row.image_size,
        row.frozen_stages,
        row.channels_last,
        row.precision,
    )
