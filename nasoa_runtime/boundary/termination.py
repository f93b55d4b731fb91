"""The message in which a pod's end says what it came to."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from nasoa_runtime.boundary.base import Digest, Record, canonical_json
from nasoa_runtime.boundary.programs import program_named
from nasoa_runtime.boundary.results import Failure

MESSAGE_CHARACTERS = 1500
_PART = r"[A-Za-z][A-Za-z0-9]{0,62}(\[[0-9]{1,4}\])?"

SpecField = Annotated[str, Field(max_length=256, pattern=rf"^{_PART}(\.{_PART})*$")]
"""The path of a field in an object's spec, such as ``dataset.uri`` or ``macroPhase.initialArchitectures[2]``."""
_SPEC_FIELD: TypeAdapter[str] = TypeAdapter(SpecField)


class TerminationMessage(Record):
    """What a pod leaves in its container status. Large results are in S3 alone, named by their digest here."""

    program: str
    index: int = Field(ge=0)
    result_key: str | None = Field(default=None, max_length=1100)
    """``s3://`` URI of the whole result; ``None`` for a failure."""
    result_digest: Digest | None = None
    result: dict[str, Any] | None = None
    """The result itself where it fits in the message."""
    failure: Failure | Literal["BadInput"] | None = None
    field: SpecField | None = None
    """The field of the spec that is to blame; ``None`` where none is."""
    message: str = Field(default="", max_length=MESSAGE_CHARACTERS)
    """For people: what went wrong and what to write instead. It does not repeat the field."""

    @field_validator("program")
    @classmethod
    def _exists(cls, name: str) -> str:
        return program_named(name).name

    def to_json(self) -> bytes:
        """The message as it is written."""
        return canonical_json(self.model_dump(mode="json"))


def spec_field(value: object) -> str | None:
    """``value`` if it is the path of a field, as pods may name one; ``None`` for whatever else they say."""
    try:
        return _SPEC_FIELD.validate_python(value, strict=True)
    except ValidationError:
        return None
