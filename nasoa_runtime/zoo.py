"""The zoo: its manifest in S3, written by compare-and-swap only.

Keys in the system bucket: ``zoo/<zoo>/manifest.json``, ``zoo/<zoo>/models/<model>/<digest>.safetensors``,
``zoo/<zoo>/sources/<source>.npz``, ``zoo/extractors/<name>.json``. Files carry a part of their digest in their name
where it can change, so what a manifest names never changes under it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, model_validator

from nasoa_runtime.records import (
    Accuracy,
    Extractor,
    Precision,
    Preprocessing,
    Record,
    StepTime,
    canonical_json,
)
from nasoa_runtime.store import ObjectStore, UnreadableObjectError

IMPORT = "import"
"""Owner of a zoo that models are imported into."""
MOST_ROWS = 4096
"""Of one model's step-time table: rows come from pods, and must not make the manifest grow without end."""
NAME = "^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"


class ZooError(Exception):
    """A zoo can't be read or written as asked; trying again would fail again."""


class ZooNotFound(ZooError):  # noqa: N818 - reads as what is wrong
    """There is no zoo of this name."""


class ZooOwnedByOther(ZooError):  # noqa: N818
    """The zoo belongs to another search, or to imports."""


class Model(Record):
    """One model of a zoo."""

    name: str = Field(pattern=NAME)
    architecture: str = Field(max_length=256)
    """Encoding, ``timm:NAME`` or ``torchvision:NAME``."""
    weights_uri: str
    weights_digest: str = Field(pattern="^[0-9a-f]{64}$")
    weights_bytes: int = Field(ge=1)
    classes: tuple[Annotated[str, Field(max_length=128)], ...] = ()
    """Names of the source data's classes in the order of the outputs; empty where they are not known."""
    class_count: int = Field(ge=2)
    """Outputs of the network as its weights are; as many as ``classes`` where those are given."""
    classes_digest: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """SHA-256 of the class names, one a line, where a list is known elsewhere but not repeated here."""
    source: str = Field(pattern=NAME)
    """Name of the source data."""
    preprocessing: Preprocessing
    low_resolution_stem: bool = False
    channels_last: bool = False
    """Memory layout and precision that were measured to be the fastest."""
    precision: Precision = "fp32"
    source_accuracy: Accuracy
    """Top-1 on the source data's validation split."""
    parameters: int = Field(ge=1)
    macs: int = Field(ge=1)
    """Multiply-accumulates of one image of the preprocessing's size."""
    step_times: tuple[StepTime, ...] = Field(default=(), max_length=MOST_ROWS)
    front_rank: int = Field(default=0, ge=0)
    """0 for a member of the Pareto front; more for one that filled the zoo up."""

    @model_validator(mode="before")
    @classmethod
    def _count_classes(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("classes"):
            values = {"class_count": len(values["classes"])} | values
        return values

    @model_validator(mode="after")
    def _classes_agree(self) -> Model:
        if self.classes and len(self.classes) != self.class_count:
            msg = f"class_count: {self.class_count}, but classes has {len(self.classes)} names"
            raise ValueError(msg)
        return self


class Manifest(Record):
    """What a zoo consists of."""

    model_config = ConfigDict(populate_by_name=True)

    format_version: Literal[1] = Field(default=1, alias="formatVersion")
    name: str = Field(pattern=NAME)
    owner: str = Field(min_length=1, max_length=64)
    """UID of the search that publishes to it, or :data:`IMPORT`."""
    version: int = Field(ge=1)
    """Counts the changes."""
    extractor: Extractor | None = None
    """Feature space of domain similarity, pinned by digest."""
    sources: dict[str, str] = Field(default_factory=dict)
    """Source name -> URI of its class prototypes in the extractor's space."""
    models: tuple[Model, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> Manifest:
        names = [model.name for model in self.models]
        if len(set(names)) != len(names):
            msg = "models: two have the same name"
            raise ValueError(msg)
        return self

    def to_json(self) -> bytes:
        """Canonical JSON, as it is stored."""
        return canonical_json(self.model_dump(mode="json", by_alias=True))

    def model(self, name: str) -> Model | None:
        """The model of this name."""
        return next((model for model in self.models if model.name == name), None)


def manifest_uri(bucket: str, zoo: str) -> str:
    """Address of a zoo's manifest."""
    return f"s3://{bucket}/zoo/{zoo}/manifest.json"


def weights_uri(bucket: str, zoo: str, model: str, weights_digest: str) -> str:
    """Address of a model's weights."""
    return f"s3://{bucket}/zoo/{zoo}/models/{model}/{weights_digest[:12]}.safetensors"


def parse_manifest(body: bytes, uri: str) -> Manifest:
    """Read a manifest.

    Raises:
        UnreadableObjectError: it is none that this version can read.
    """
    try:
        return Manifest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise UnreadableObjectError(uri, f"it is no zoo manifest of format 1: {where}: {first['msg']}") from error


def read_manifest(store: ObjectStore, bucket: str, zoo: str) -> Manifest | None:
    """The zoo's manifest, or ``None`` where there is no such zoo.

    Raises:
        UnreadableObjectError: there is one that can't be read.
    """
    uri = manifest_uri(bucket, zoo)
    found = store.get(uri)
    return None if found is None else parse_manifest(found.body, uri)


def list_zoos(store: ObjectStore, bucket: str) -> tuple[str, ...]:
    """Names of all zoos."""
    keys = (listed.key.split("/") for listed in store.list(f"s3://{bucket}/zoo/"))
    return tuple(parts[1] for parts in keys if len(parts) == 3 and parts[2] == "manifest.json")


def publish(
    store: ObjectStore,
    bucket: str,
    zoo: str,
    owner: str,
    models: Sequence[Model],
    sources: Mapping[str, str] | None = None,
    extractor: Extractor | None = None,
) -> Manifest:
    """Enter ``models`` in the manifest, replacing those of the same names; again changes nothing.

    Rows that were measured since for the same weights are kept.

    Args:
        store: S3 with the operator's identity.
        bucket: the system bucket.
        zoo: name; a zoo that does not exist is made.
        owner: UID of the search, or :data:`IMPORT`.
        models: their weights are in the zoo already (:mod:`nasoa_runtime.admission`).
        sources: source name -> URI of its class prototypes (:mod:`nasoa_runtime.admission`).
        extractor: what the prototypes were made with.

    Raises:
        ZooOwnedByOther: the zoo belongs to somebody else.
        ZooError: its prototypes were made with another extractor.
        UnreadableObjectError: its manifest can't be read; it is left as it is.
    """

    def change(manifest: Manifest | None) -> Manifest:
        if manifest is None:
            manifest = Manifest(name=zoo, owner=owner, version=1)
        if manifest.owner != owner:
            whose = "to imported models" if manifest.owner == IMPORT else f"to the search {manifest.owner}"
            msg = f"zoo {zoo!r} belongs {whose}: publish to a zoo of another name"
            raise ZooOwnedByOther(msg)
        if extractor and manifest.extractor not in {None, extractor} and manifest.sources:
            msg = f"zoo {zoo!r} is pinned to another extractor: its sources' prototypes would not compare"
            raise ZooError(msg)
        new = {model.name: model for model in models}
        kept = [_with_rows_of(new.pop(model.name, model), model) for model in manifest.models]
        return manifest.model_copy(
            update={
                "extractor": extractor or manifest.extractor,
                "sources": manifest.sources | dict(sources or {}),
                "models": (*kept, *new.values()),
            }
        )

    return _update(store, bucket, zoo, change)


def add_step_times(store: ObjectStore, bucket: str, zoo: str, rows: Mapping[str, Sequence[StepTime]]) -> Manifest:
    """Enter measured rows in the table; of two for the same setting the first one stored counts.

    Args:
        store: S3 with the operator's identity.
        bucket: the system bucket.
        zoo: name.
        rows: by model name; a model that the zoo no longer has is passed over.

    Raises:
        ZooNotFound: there is no such zoo.
        UnreadableObjectError: its manifest can't be read; it is left as it is.
    """

    def change(manifest: Manifest | None) -> Manifest:
        if manifest is None:
            msg = f"there is no zoo {zoo!r}"
            raise ZooNotFound(msg)
        merged = tuple(_with_rows(model, rows.get(model.name, ())) for model in manifest.models)
        return manifest.model_copy(update={"models": merged})

    return _update(store, bucket, zoo, change)


def _update(store: ObjectStore, bucket: str, zoo: str, change: Callable[[Manifest | None], Manifest]) -> Manifest:
    uri = manifest_uri(bucket, zoo)

    def change_body(body: bytes | None) -> bytes | None:
        before = None if body is None else parse_manifest(body, uri)
        after = change(before)
        if before is None:
            return after.to_json()
        return None if after == before else after.model_copy(update={"version": before.version + 1}).to_json()

    written = store.update(uri, change_body)
    if written is None:
        msg = f"there is no zoo {zoo!r}"
        raise ZooNotFound(msg)
    return parse_manifest(written, uri)


def _with_rows_of(model: Model, before: Model) -> Model:
    """``model`` with the rows that were measured for the same weights."""
    return _with_rows(model, before.step_times) if model.weights_digest == before.weights_digest else model


def _with_rows(model: Model, rows: Sequence[StepTime]) -> Model:
    table = {_setting(row): row for row in model.step_times}
    for row in rows:
        if len(table) < MOST_ROWS:
            table.setdefault(_setting(row), row)
    return model.model_copy(update={"step_times": tuple(table.values())})


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
