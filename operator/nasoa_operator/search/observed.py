"""What is known of one NASSearch at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nasoa_operator.jobs import Owner
from nasoa_operator.observed_jobs import ObservedJob
from nasoa_operator.plan import Event, Plan, Write
from nasoa_operator.settings import Settings
from nasoa_runtime.api.search import NASSearchSpec
from nasoa_runtime.boundary import Extractor
from nasoa_runtime.documents.base import Document
from nasoa_runtime.documents.keys import OutputUris, SearchKeys, SearchPart
from nasoa_runtime.documents.search_records import SearchRecords
from nasoa_runtime.documents.steps import Step

LISTS_AT_MOST = 5
"""Lists of proposals a generation may take to find N members that meet T_m."""


@dataclass(frozen=True)
class ObservedSearch:
    """A frozen snapshot: the object, what is recorded of it in S3, its Jobs."""

    owner: Owner
    object_generation: int
    created: datetime
    spec: NASSearchSpec
    status: Mapping[str, Any]
    records: SearchRecords
    jobs: Mapping[str, ObservedJob]
    """By the name of their step."""
    zoo_owner: str | None
    """Who owns the zoo that the search publishes to; ``None`` if there is no such zoo yet."""
    extractor: Extractor | None
    """The feature extractor that manifests are pinned to, where one has been imported."""
    settings: Settings
    now: datetime

    @property
    def uid(self) -> str:
        """UID whose records this search builds on."""
        return self.spec.resume_from or self.owner.uid

    @property
    def uris(self) -> OutputUris:
        """Where the search's pods write."""
        return OutputUris(self.spec.output_uri, self.uid)

    @property
    def source(self) -> str:
        """The name of the source data of the zoo's models: what the spec says, else the zoo's."""
        return self.spec.zoo.source or self.spec.zoo.name

    def model_name(self, index: int) -> str:
        """The name under which selected model ``index`` is published."""
        return f"{self.spec.zoo.name}-{index + 1}"

    def key(self, part: SearchPart) -> str:
        """The key in the system bucket of a document."""
        return SearchKeys(self.uid).of(part)

    def result_uri(self, step: Step) -> str:
        """Where the pods of ``step`` write their results."""
        return self.uris.results(str(step))

    def write(self, part: SearchPart, document: Document, event: Event | None = None) -> Plan:
        """The plan to write one document, and to look again at once."""
        return Plan(writes=(Write(self.key(part), document, event),), again=True)
