"""What requests showed, recorded so that a predictor can be rebuilt, replayed and audited."""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime

from nasoa_runtime.documents.base import Document


class OutcomeRecord(Document):
    """PLACEHOLDER until merge."""

    uid: str
    request: str
    zoo: str
    outcomes: tuple[dict[str, Any], ...]
    recorded_at: AwareDatetime
