"""``nasoa``: look at architectures, zoos and predictors, plan and explain requests, and replay recorded ones.

Answers go to standard output, as tables or, with ``--json``, as one document. What is refused ends with exit code 2
and says why on standard error; an S3 that does not answer ends with 1.
"""

from __future__ import annotations

import sys

import typer

from nasoa_runtime.cli.architectures import arch, space
from nasoa_runtime.cli.common import (
    BUCKET_VARIABLE,
    DEFAULT_BUCKET,
    DEFAULT_REGION,
    ENDPOINT_VARIABLE,
    REGION_VARIABLE,
    RefusedError,
)
from nasoa_runtime.cli.explaining import explain
from nasoa_runtime.cli.planning import plan
from nasoa_runtime.cli.predictors import policy, predictor
from nasoa_runtime.cli.zoos import zoo
from nasoa_runtime.documents.base import UnreadableDocumentError
from nasoa_runtime.storage.s3 import StoreError, StoreUnavailable
from nasoa_runtime.storage.zoo import ZooError

UNAVAILABLE, REFUSED = 1, 2

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help=(
        "Faster task-oriented fine-tuning with a searched zoo of models.\n\n"
        f"Zoos and predictors are read from the S3 service at {ENDPOINT_VARIABLE} (without it, AWS), in the region"
        f" {REGION_VARIABLE} ({DEFAULT_REGION}), from the bucket {BUCKET_VARIABLE} ({DEFAULT_BUCKET}). Keys come from"
        " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or from where AWS's own tools find them."
    ),
)
app.add_typer(arch, name="arch")
app.add_typer(space, name="space")
app.add_typer(zoo, name="zoo")
app.add_typer(predictor, name="predictor")
app.add_typer(policy, name="policy")
app.command(name="plan")(plan)
app.command(name="explain")(explain)


def main() -> None:
    """Run the command line and end the process."""
    try:
        app()
    except StoreUnavailable as error:
        fail(error, UNAVAILABLE)
    except (RefusedError, StoreError, UnreadableDocumentError, ZooError, ValueError, OSError) as error:
        fail(error, REFUSED)


def fail(error: Exception, code: int) -> None:
    """Say what is wrong, and end with ``code``."""
    sys.stderr.write(f"nasoa: {error}\n")
    sys.exit(code)
