"""The operator's settings: read once from environment variables `NASOA_*`, then frozen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

PREFIX = "NASOA_"


def _split(value: Any) -> Any:
    """A comma-separated variable as a tuple of names."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]


class SettingsError(ValueError):
    """A setting is missing or can't be used; the message names the environment variable."""


class Settings(BaseModel):
    """How one operator runs. Credentials are not among them: boto3 finds those by itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    system_bucket: str = Field(default="nasoa-system", min_length=3, max_length=63)
    """Bucket of the zoo, the search records and the predictor; written by the operator only."""
    s3_endpoint: str | None = None
    """Address of S3 for the operator, and for pods whose object names none; AWS without it."""
    s3_region: str = "us-east-1"
    """Region that requests are signed for."""
    pod_image: str = "nasoa/runtime:0.1.0"
    """Image of every pod that the operator starts."""
    namespace: str = "nasoa-system"
    """Namespace of the operator itself: its Lease is there."""
    watch_namespaces: Names = ()
    """Namespaces whose objects are looked at; all without any."""
    search_namespaces: Names = ()
    """Namespaces that may publish to a zoo; all that are watched without any."""
    resync_seconds: float = Field(default=30.0, gt=0)
    """How often everything is looked at even if nothing happened."""
    backoff_limit_per_index: int = Field(default=3, ge=0)
    """Tries that a pod has besides the first."""
    workers: int = Field(default=8, ge=1, le=128)
    """Objects that are worked on at once."""
    anchor: str = "031-_16_1-1-1-1"
    """Encoding of the network by which drift between two profiling pods is corrected."""
    extractor: str | None = Field(default=None, max_length=63)
    """Name of the imported feature extractor that new zoos are pinned to; without it they know no domain similarity."""
    kubeconfig: Path | None = None
    """Kubeconfig file; the pod's service account without it."""
    prometheus_url: str | None = None
    """Prometheus that step times are asked from; without it the pods are scraped."""
    health_port: int = Field(default=8080, ge=0, le=65535)
    """Port of `/healthz`, `/readyz` and `/metrics`; 0 picks a free one."""
    health_host: str = "0.0.0.0"  # noqa: S104 - the kubelet and Prometheus come from outside the pod
    """Address that the health port is bound to."""
    log_format: Literal["plain", "json"] = "plain"
    """Form of the log's lines."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least level that is logged."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Settings from ``environment`` (``os.environ``); empty variables count as absent.

        Raises:
            SettingsError: naming each variable that can't be used and what is wrong with it.
        """
        found = {name: environment.get(PREFIX + name.upper(), "") for name in cls.model_fields}
        try:
            return cls.model_validate({name: value for name, value in found.items() if value})
        except ValidationError as error:
            wrong = "; ".join(
                f"{PREFIX}{str(e['loc'][0]).upper()}: {e['msg']}, not {e['input']!r}" for e in error.errors()
            )
            raise SettingsError(wrong) from error
