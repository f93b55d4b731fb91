"""Entering in S3 what an administrator brings in: models for a zoo, and feature extractors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from nasoa_runtime.boundary import Extractor, Precision, Preprocessing, digest
from nasoa_runtime.documents.base import dump
from nasoa_runtime.documents.keys import extractor_key, extractor_weights_key
from nasoa_runtime.documents.zoo import RegisteredExtractor, ZooModel
from nasoa_runtime.storage.intake import create_same
from nasoa_runtime.storage.s3 import ObjectStore
from nasoa_runtime.storage.zoo import ZooError, weights_uri

CLASS_NAMES_KEPT = 100
"""A list of more names is kept as its number and digest: it would be most of the manifest."""


@dataclass(frozen=True)
class ImportedNetwork:
    """A network's weights, ready to be stored, and what is known of the network."""

    architecture: str
    weights: bytes
    """Safetensors."""
    class_count: int
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    low_resolution_stem: bool
    parameters: int
    macs: int

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the weights."""
        return digest(self.weights)


def import_model(
    store: ObjectStore,
    bucket: str,
    zoo: str,
    name: str,
    network: ImportedNetwork,
    *,
    source: str,
    source_accuracy: float,
    precision: Precision,
    channels_last: bool,
) -> ZooModel:
    """Store a network's weights in a zoo, and describe it as a model; publishing it is left to the caller.

    Raises:
        UnreadableDocumentError: other weights are stored under this digest.
    """
    names = network.class_names
    model = ZooModel(
        name=name,
        architecture=network.architecture,
        weights_uri=weights_uri(bucket, zoo, name, network.digest),
        weights_digest=network.digest,
        weights_bytes=len(network.weights),
        classes=names if len(names) <= CLASS_NAMES_KEPT else (),
        class_count=network.class_count,
        classes_digest=digest("\n".join(names).encode()) if names else None,
        source=source,
        preprocessing=network.preprocessing,
        low_resolution_stem=network.low_resolution_stem,
        channels_last=channels_last,
        precision=precision,
        source_accuracy=source_accuracy,
        parameters=network.parameters,
        macs=network.macs,
    )
    create_same(store, model.weights_uri, network.weights)
    return model


def register_extractor(store: ObjectStore, bucket: str, name: str, network: ImportedNetwork) -> Extractor:
    """Store a network's weights, and register it as extractor ``name``; again changes nothing.

    Raises:
        ZooError: there is another extractor of this name; zoos may be pinned to it.
        UnreadableDocumentError: other weights are stored under this digest.
    """
    extractor = Extractor(
        name=name,
        architecture=network.architecture,
        weights_uri=f"s3://{bucket}/{extractor_weights_key(name, network.digest)}",
        weights_digest=network.digest,
        preprocessing=network.preprocessing,
    )
    create_same(store, extractor.weights_uri, network.weights)
    body = dump(RegisteredExtractor(extractor=extractor))
    if store.create_or_read(f"s3://{bucket}/{extractor_key(name)}", body) != body:
        msg = f"there is another extractor {name!r}, which zoos may be pinned to: choose another name"
        raise ZooError(msg)
    return extractor
