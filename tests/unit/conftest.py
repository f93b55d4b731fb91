"""What several unit tests need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from s3 import a_server


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The address of an S3 of the module's own."""
    with a_server() as address:
        yield address
