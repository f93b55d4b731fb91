"""Quantities and parts that both kinds share. Each string, list and map is bounded, as CEL's cost estimate needs."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema

from nasoa_runtime.api.base import SpecPart, rule, rules
from nasoa_runtime.architecture.encoding import BLOCK_PATTERN, ENCODING_PATTERN, EXAMPLE, MACRO_PATTERN
from nasoa_runtime.durations import DURATION_MESSAGE, DURATION_PATTERN, seconds

# --- Durations ---------------------------------------------------------------------------------------------------


def _is_duration(text: str) -> str:
    seconds(text)
    return text


Duration = Annotated[
    str,
    AfterValidator(_is_duration),
    # A number without a unit passes the schema's type, so that it is refused by the rule, which says what to write.
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "maxLength": 32,
            **rules(
                rule(
                    f"type(self) == string && self.matches('{DURATION_PATTERN}') && self != ''"
                    " && duration(self) > duration('0s') && duration(self) <= duration('250000h')",
                    DURATION_MESSAGE,
                )
            ),
        }
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


def _matching(pattern: str, message: str, forbidden: str | None = None) -> AfterValidator:
    """The same check in Python that :func:`_match_rule` makes in CEL."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text) or (forbidden and re.search(forbidden, text)):
            msg = f"{message}; not {text!r}"
            raise ValueError(msg)
        return text

    return AfterValidator(check)


def _match_rule(pattern: str, message: str, forbidden: str | None = None) -> dict[str, Any]:
    expression = f"self.matches('{pattern}')" + (f" && !self.matches('{forbidden}')" if forbidden else "")
    return rules(rule(expression, message))


Name = Annotated[
    str,
    _matching(NAME_PATTERN, _NAME_MESSAGE),
    Field(max_length=63, json_schema_extra=_match_rule(NAME_PATTERN, _NAME_MESSAGE)),
]
"""A name of ours (zoo, model, source): a DNS label."""
ObjectName = Annotated[
    str,
    _matching(_SUBDOMAIN_PATTERN, _SUBDOMAIN_MESSAGE),
    Field(max_length=253, json_schema_extra=_match_rule(_SUBDOMAIN_PATTERN, _SUBDOMAIN_MESSAGE)),
]
"""The name of a Kubernetes object."""
DatasetUri = Annotated[
    str,
    _matching(DATASET_PATTERN, DATASET_MESSAGE, _DOTS_PATTERN),
    Field(max_length=1024, json_schema_extra=_match_rule(DATASET_PATTERN, DATASET_MESSAGE, _DOTS_PATTERN)),
]
OutputUri = Annotated[
    str,
    _matching(S3_PATTERN, OUTPUT_MESSAGE, _DOTS_PATTERN),
    Field(max_length=1024, json_schema_extra=_match_rule(S3_PATTERN, OUTPUT_MESSAGE, _DOTS_PATTERN)),
]

_BLOCK_PATTERN, _MACRO_PATTERN = f"^{BLOCK_PATTERN}$", f"^{MACRO_PATTERN}$"
_ENCODING_MESSAGE = (
    f"must be BLOCK_FIRSTCHANNEL_MACRO such as {EXAMPLE}"
    " (operations 0 to 6, widths 0 to 4, multipliers 1, 2 or 4, four stages between three '-')"
)
_BLOCK_MESSAGE = "must be LAYERS-CONNECTIONS such as 02031-a02 or 031- (operations 0 to 6, widths 0 to 4, nodes 0 to 3)"
_MACRO_MESSAGE = "must be four stages of channel multipliers 1, 2 or 4, such as 1-2-21-2"
Encoding = Annotated[
    str,
    _matching(ENCODING_PATTERN, _ENCODING_MESSAGE),
    Field(max_length=256, json_schema_extra=_match_rule(ENCODING_PATTERN, _ENCODING_MESSAGE)),
]
"""An architecture; what a pattern can't see is checked when the operator accepts the object."""
BlockEncoding = Annotated[
    str,
    _matching(_BLOCK_PATTERN, _BLOCK_MESSAGE),
    Field(max_length=32, json_schema_extra=_match_rule(_BLOCK_PATTERN, _BLOCK_MESSAGE)),
]
MacroEncoding = Annotated[
    str,
    _matching(_MACRO_PATTERN, _MACRO_MESSAGE),
    Field(max_length=128, json_schema_extra=_match_rule(_MACRO_PATTERN, _MACRO_MESSAGE)),
]

# --- Parts of a spec ---------------------------------------------------------------------------------------------

Precision = Literal["fp32", "bf16", "fp16"]
ImageSize = Annotated[int, Field(ge=8, le=1024)]
BatchSize = Annotated[int, Field(ge=1, le=8192)]
LearningRate = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
Epochs = Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


class DatasetSpec(SpecPart):
    """Images in class folders, split by content; a folder `test` beside `train` is read once, at the end."""

    uri: DatasetUri
    """`s3://BUCKET/PREFIX`, or `pvc://CLAIM/PATH` for a claim of this namespace."""
    max_images: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """Keep at most this many training images, stratified by class; all without it."""


class StorageSpec(SpecPart):
    """How pods reach S3. Without a Secret they use what their service account has (workload identity)."""

    secret_name: ObjectName | None = None
    """Secret of this namespace with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and optionally the zoo reader's
    NASOA_ZOO_ACCESS_KEY_ID and NASOA_ZOO_SECRET_ACCESS_KEY. The operator never reads it."""
    endpoint: (
        Annotated[
            str,
            _matching("^https?://[^/ ]+/?$", "must be http://HOST[:PORT] or https://HOST[:PORT]"),
            Field(
                max_length=512,
                json_schema_extra=_match_rule(
                    "^https?://[^/ ]+/?$", "must be http://HOST[:PORT] or https://HOST[:PORT]"
                ),
            ),
        ]
        | None
    ) = None
    """Address of the S3 service; the operator's own without it."""
    region: str = Field(default="us-east-1", min_length=1, max_length=64)
    """Region that requests are signed for."""


class DeviceSpec(SpecPart):
    """What each pod computes on."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.type == 'cuda' || !has(self.product)",
                "names a GPU, but type is cpu: leave product out (podTemplate.nodeSelector picks nodes), or set type to"
                " cuda",
                field_path=".product",
            )
        )
    )

    type: Literal["cpu", "cuda"] = "cpu"
    """`cuda` asks for `count` of `nvidia.com/gpu`, `cpu` for `count` cores."""
    count: int = Field(default=1, ge=1, le=64)
    """GPUs or cores of each pod."""
    product: str | None = Field(default=None, min_length=1, max_length=63)
    """GPU product as in the node label `nvidia.com/gpu.product`; any without it."""


Quantity = Annotated[
    str,
    BeforeValidator(str),
    Field(max_length=32),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "pattern": r"^[0-9]{1,15}([.][0-9]{1,9})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$",
            "maxLength": 32,
        }
    ),
]
ResourceName = Annotated[str, Field(max_length=128)]
ResourceList = Annotated[dict[ResourceName, Quantity], Field(max_length=16)]


class Resources(SpecPart):
    """Requests and limits of the container; they replace what the operator would ask for, resource by resource."""

    requests: ResourceList = Field(default={})
    """What the scheduler reserves."""
    limits: ResourceList = Field(default={})
    """What the container may use."""


class Toleration(SpecPart):
    """A taint that the pods tolerate, as in a pod's spec."""

    key: str | None = Field(default=None, max_length=317)
    """Taint key; all keys without it (operator must then be Exists)."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """`Equal` compares the value, `Exists` does not look at it."""
    value: str | None = Field(default=None, max_length=63)
    """Taint value."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Taint effect; all effects without it."""
    toleration_seconds: int | None = Field(default=None, ge=0, le=2**31 - 1)
    """How long a NoExecute taint is tolerated."""


LabelValue = Annotated[str, Field(max_length=63)]


class PodTemplate(SpecPart):
    """What the pods have beside what the operator decides."""

    resources: Resources | None = None
    """Requests and limits; chosen to suit the device without it."""
    node_selector: dict[Annotated[str, Field(max_length=317)], LabelValue] = Field(default={}, max_length=16)
    """Labels that the pods' nodes must have."""
    tolerations: tuple[Toleration, ...] = Field(default=(), max_length=16)
    """Taints that the pods tolerate."""
    priority_class_name: ObjectName | None = None
    """PriorityClass of the pods."""
    service_account_name: ObjectName | None = None
    """ServiceAccount of the pods, for workload identity."""
    queue_name: Name | None = None
    """LocalQueue of Kueue that the Jobs are submitted to."""
