"""Quantities that both kinds share. Each string, list and map is bounded, as CEL's cost estimate needs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from nasoa_runtime.api.rules import Obeys, Rule, matching
from nasoa_runtime.architecture.encoding import BLOCK_PATTERN, ENCODING_PATTERN, EXAMPLE, MACRO_PATTERN
from nasoa_runtime.architecture.structure import HEAD_ONLY, OPERATIONS
from nasoa_runtime.durations import DURATION_MESSAGE, DURATION_PATTERN, seconds

# --- Times and fractions -----------------------------------------------------------------------------------------


def _is_duration(value: Any) -> bool:
    try:
        return isinstance(value, str) and seconds(value) > 0
    except ValueError:
        return False


Duration = Annotated[
    str,
    # A number without a unit passes the schema's type, so that it is refused by the rule, which says what to write.
    WithJsonSchema({"x-kubernetes-int-or-string": True, "maxLength": 32}),
    Obeys(
        (
            Rule(
                f"type(self) == string && self.matches('{DURATION_PATTERN}') && self != ''"
                " && duration(self) > duration('0s') && duration(self) <= duration('250000h')",
                _is_duration,
                DURATION_MESSAGE,
            ),
        ),
        before=True,
    ),
]
"""A length of time, such as ``90m``; always above zero."""


def timestamp(moment: datetime) -> str:
    """``moment`` as Kubernetes writes it: UTC, whole seconds, ``Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Timestamp = Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})]

Fraction = Annotated[float, Field(ge=0, le=1)]


def percent(fraction: float | None) -> str | None:
    """``91.3%`` for people; ``None`` stays ``None``."""
    return None if fraction is None else f"{100 * fraction:.1f}%"


# --- Names, addresses, encodings ---------------------------------------------------------------------------------

NAME_PATTERN = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_NAME_MESSAGE = "must be lower-case letters, digits and '-', at most 63, such as vision-small"
_SUBDOMAIN_PATTERN = "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"
_SUBDOMAIN_MESSAGE = "must be the name of a Kubernetes object: lower-case letters, digits, '-' and '.'"
_UID_PATTERN = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
_BUCKET = "[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_PATH = "(/[A-Za-z0-9!_.*()=@:+, -]+)*/?"
S3_PATTERN = f"^s3://{_BUCKET}{_PATH}$"
DATASET_PATTERN = f"^(s3://{_BUCKET}|pvc://[a-z0-9]([a-z0-9.-]*[a-z0-9])?){_PATH}$"
# A segment of dots would leave the prefix that the tenant's credentials are good for, or the mounted claim.
_DOTS_PATTERN = "(^|/)[.]{1,2}(/|$)"
_PATH_MESSAGE = "A path has ASCII letters, digits, spaces and !_.*()=@:+,- between single slashes, without . or .."
DATASET_MESSAGE = (
    f"must be s3://BUCKET/PREFIX or pvc://CLAIM/PATH: a folder of class folders of images. {_PATH_MESSAGE}"
)
OUTPUT_MESSAGE = f"must be s3://BUCKET/PREFIX; a bucket has 3 to 63 characters. {_PATH_MESSAGE}"

Name = Annotated[str, Field(max_length=63), matching(NAME_PATTERN, _NAME_MESSAGE)]
"""A name of ours (zoo, model, source): a DNS label."""
ObjectName = Annotated[str, Field(max_length=253), matching(_SUBDOMAIN_PATTERN, _SUBDOMAIN_MESSAGE)]
"""The name of a Kubernetes object."""
SearchUid = Annotated[str, Field(max_length=36), matching(_UID_PATTERN, "must be the UID of an earlier NASSearch")]
"""The UID that the API server gave to a search."""
DatasetUri = Annotated[str, Field(max_length=1024), matching(DATASET_PATTERN, DATASET_MESSAGE, _DOTS_PATTERN)]
OutputUri = Annotated[str, Field(max_length=1024), matching(S3_PATTERN, OUTPUT_MESSAGE, _DOTS_PATTERN)]
Endpoint = Annotated[
    str,
    Field(max_length=512),
    matching("^https?://[^/ ]+/?$", "must be http://HOST[:PORT] or https://HOST[:PORT]"),
]

_DIGITS = f"operations 0 to {len(OPERATIONS) - 1}, widths 0 to 4"
_ENCODING_MESSAGE = (
    f"must be BLOCK_FIRSTCHANNEL_MACRO such as {EXAMPLE}"
    f" ({_DIGITS}, multipliers 1, 2 or 4, four stages between three '-')"
)
_BLOCK_MESSAGE = f"must be LAYERS-CONNECTIONS such as 02031-a02 or 031- ({_DIGITS}, nodes 0 to 3)"
_MACRO_MESSAGE = "must be four stages of channel multipliers 1, 2 or 4, such as 1-2-21-2"
Encoding = Annotated[str, Field(max_length=256), matching(ENCODING_PATTERN, _ENCODING_MESSAGE)]
"""An architecture; what a pattern can't see is checked when the operator accepts the object."""
BlockEncoding = Annotated[str, Field(max_length=32), matching(f"^{BLOCK_PATTERN}$", _BLOCK_MESSAGE)]
MacroEncoding = Annotated[str, Field(max_length=128), matching(f"^{MACRO_PATTERN}$", _MACRO_MESSAGE)]

# --- Numbers -----------------------------------------------------------------------------------------------------

Precision = Literal["fp32", "bf16", "fp16"]
Preset = Literal["Default", "Paper"]
Optimizer = Literal["SGD", "AdamW"]
Augmentation = Literal["Crop", "RandAugment", "TrivialAugment"]
ImageSize = Annotated[int, Field(ge=8, le=1024)]
BatchSize = Annotated[int, Field(ge=1, le=8192)]
LearningRate = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
WeightDecay = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
LayerDecay = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
LabelSmoothing = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Mixup = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
StepFraction = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Epochs = Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)]
Operation = Annotated[int, Field(ge=0, le=len(OPERATIONS) - 1)]
"""The digit of a layer's operation."""
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
FrozenStages = Annotated[int, Field(ge=0, le=HEAD_ONLY)]
EvenChannels = Annotated[
    int,
    Field(ge=2, le=1024),
    Obeys((Rule("self % 2 == 0", lambda channels: channels % 2 == 0, "must be even: the stem has half of it"),)),
]
Count = Annotated[int, Field(ge=0, le=2**53)]
_QUANTITY_PATTERN = r"^[0-9]{1,15}([.][0-9]{1,9})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
Quantity = Annotated[
    str,
    Field(max_length=32, pattern=_QUANTITY_PATTERN),
    BeforeValidator(str),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "pattern": _QUANTITY_PATTERN,
            "maxLength": 32,
        }
    ),
]
"""An amount as Kubernetes writes it, such as ``500m`` or ``4Gi``; a number will do too."""
