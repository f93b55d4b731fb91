"""Taking what pods left under a tenant's prefix into the zoo: it is checked, and what was checked is written."""

from __future__ import annotations

import io
import zipfile

import numpy as np

from nasoa_runtime.boundary import digest
from nasoa_runtime.documents.base import UnreadableDocumentError
from nasoa_runtime.documents.keys import ZooKeys
from nasoa_runtime.storage.s3 import MissingObject, ObjectStore
from nasoa_runtime.storage.weights import InvalidWeights, verify_weights
from nasoa_runtime.storage.zoo import ZooError, ZooModel, weights_uri

LARGEST_WEIGHTS_BYTES = 4 << 30
LARGEST_PROTOTYPES_BYTES = 256 << 20


def admit_weights(store: ObjectStore, bucket: str, zoo: str, model: ZooModel) -> ZooModel:
    """Check a model's weights where a pod left them, and take them into the zoo.

    What was checked is what is written: between checking and a copy on the server, the tenant could change the file.

    Returns:
        The model with the address of its weights in the zoo.

    Raises:
        MissingObject: there are no weights at ``model.weights_uri``.
        InvalidWeights: size, digest, format or architecture are not what ``model`` says.
    """
    head = store.head(model.weights_uri)
    if head is None:
        msg = f"{model.weights_uri}: there are no weights of model {model.name!r}"
        raise MissingObject(msg)
    if head.size != model.weights_bytes or head.size > LARGEST_WEIGHTS_BYTES:
        msg = f"{model.weights_uri} has {head.size} bytes, not {model.weights_bytes} (at most {LARGEST_WEIGHTS_BYTES})"
        raise InvalidWeights(msg)
    found = store.get(model.weights_uri)
    if found is None or digest(found.body) != model.weights_digest:
        msg = f"{model.weights_uri} has another digest than {model.weights_digest}"
        raise InvalidWeights(msg)
    try:
        verify_weights(found.body, model.architecture, model.class_count, model.low_resolution_stem)
    except InvalidWeights as error:
        msg = f"{model.weights_uri}: {error}"
        raise InvalidWeights(msg) from error
    target = weights_uri(bucket, zoo, model.name, model.weights_digest)
    _create_same(store, target, found.body)
    return model.model_copy(update={"weights_uri": target})


def admit_prototypes(store: ObjectStore, bucket: str, zoo: str, source: str, uri: str) -> str:
    """Check class prototypes where a pod left them, and take them into the zoo; the address there.

    Raises:
        MissingObject: there are none at ``uri``.
        ZooError: they are no npz of ``prototypes`` (c, d) and ``weights`` (c,), all finite.
    """
    head = store.head(uri)
    found = store.get(uri) if head is not None and head.size <= LARGEST_PROTOTYPES_BYTES else None
    if found is None:
        msg = f"{uri}: there are no prototypes of at most {LARGEST_PROTOTYPES_BYTES} bytes"
        raise MissingObject(msg)
    check_prototypes(found.body, uri)
    target = f"s3://{bucket}/{ZooKeys(zoo).prototypes(source, digest(found.body))}"
    _create_same(store, target, found.body)
    return target


def check_prototypes(body: bytes, uri: str) -> None:
    """Check that ``body`` is an npz of class prototypes.

    Raises:
        ZooError: it is not.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        small = unpacked <= LARGEST_PROTOTYPES_BYTES
        with np.load(io.BytesIO(body), allow_pickle=False) as stored:
            prototypes, weights = (stored["prototypes"], stored["weights"]) if small else (np.empty(0), np.empty(0))
        fits = prototypes.ndim == 2 and weights.shape == prototypes.shape[:1] and len(prototypes) >= 1
        fits = fits and bool(np.isfinite(prototypes).all() and (np.isfinite(weights) & (weights >= 0)).all())
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        msg = f"{uri} has no class prototypes: {error}"
        raise ZooError(msg) from error
    if not fits:
        msg = (
            f"{uri} has no class prototypes: it needs prototypes (classes, features) and weights (classes,), finite, "
            f"the weights not negative, in at most {LARGEST_PROTOTYPES_BYTES} bytes"
        )
        raise ZooError(msg)


def _create_same(store: ObjectStore, uri: str, body: bytes) -> None:
    """Create an object whose name holds its digest; one that is there already must be the same."""
    if digest(store.create_or_read(uri, body)) != digest(body):
        raise UnreadableDocumentError(uri, "its name holds a digest that its content does not have")
