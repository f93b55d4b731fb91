"""What of a race is kept in S3: its decisions, each written once, and the checkpoints of the runs that are in it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from nasoa_runtime.documents.base import UnreadableDocumentError, dump, load
from nasoa_runtime.documents.checkpoint import FinetuningState
from nasoa_runtime.documents.keys import race_checkpoint_uri, race_decision_uri
from nasoa_runtime.documents.race import RaceDecision
from nasoa_runtime.pods.failures import BadInputError
from nasoa_runtime.pods.retrying import retrying
from nasoa_runtime.pods.training.checkpoint import Checkpoint, read_checkpoint
from nasoa_runtime.pods.training.request import Request
from nasoa_runtime.storage.s3 import StoreUnavailable

log = logging.getLogger(__name__)

PAUSES_SECONDS = (0.5, 1.0)
"""The time limit counts while the store is waited for."""


@dataclass(frozen=True)
class Kept:
    """A request's part of the store."""

    request: Request

    def checkpoint_uri(self, number: int) -> str:
        """Where the run of this regime is kept."""
        return race_checkpoint_uri(self.request.document.work_uri, number)

    def decisions(self) -> list[RaceDecision]:
        """All that was decided so far; workers other than the first read no more than that one found.

        Raises:
            BadInputError: One can't be read, or is of another request.
        """
        found: list[RaceDecision] = []
        while (decision := self._decision(len(found))) is not None:
            found.append(decision)
        return found[: int(self.request.target.agree(len(found)))]

    def decide(self, rung: int, decision: RaceDecision) -> RaceDecision | None:
        """Write a decision down, by the first worker; what is there already counts.

        Returns:
            What counts; ``None`` where the store does not answer. The race goes on then, and if its pod is lost before
            a later decision is written, the next one decides anew from what is kept.
        """
        target, uri = self.request.target, self._decision_uri(rung)
        if target.rank != 0:
            return decision
        try:
            body = retrying(lambda: self.request.pod.store.create_or_read(uri, dump(decision)), PAUSES_SECONDS)
        except StoreUnavailable as error:
            log.warning("What was decided about rung %d is not kept, the race goes on: %s", rung, error)
            return None
        return self._read(body, uri)

    def checkpoint(self, number: int) -> Checkpoint[FinetuningState] | None:
        """The state of the run of this regime, if it is there and can be used."""
        uri = self.checkpoint_uri(number)
        found = retrying(lambda: read_checkpoint(FinetuningState, self.request.pod.store, uri))
        if found is not None and found.state.regime != self.request.document.regimes[number]:
            log.warning("%s is of another regime and is left alone.", uri)
            return None
        return found

    def _decision_uri(self, rung: int) -> str:
        return race_decision_uri(self.request.document.work_uri, rung)

    def _decision(self, rung: int) -> RaceDecision | None:
        uri = self._decision_uri(rung)
        found = retrying(lambda: self.request.pod.store.get(uri))
        return None if found is None else self._read(found.body, uri)

    def _read(self, body: bytes, uri: str) -> RaceDecision:
        try:
            decision = load(RaceDecision, body, uri)
        except UnreadableDocumentError as error:
            raise BadInputError(str(error), "outputURI") from error
        regimes = self.request.document.regimes
        known = all(run.regime in regimes for run in decision.runs)
        if not known or max(decision.racing) >= len(regimes):
            msg = f"{uri} was decided about other regimes than those of this request."
            raise BadInputError(msg, "outputURI")
        return decision
