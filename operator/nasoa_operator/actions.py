"""What plans do to shared state in S3: teach the predictor, publish to the zoo. Each is done once, however often tried.

An action ends by writing the document that says it is done. It may be stopped anywhere before that, and is then tried
again; all its writes are create-only or compare-and-swap.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from nasoa_operator.events import failed
from nasoa_operator.plan import Action, AddStepTimes, Event, Learn, Publish
from nasoa_runtime.documents.request import Learned
from nasoa_runtime.documents.search import Published, Stop
from nasoa_runtime.storage.documents import DocumentStore
from nasoa_runtime.storage.intake import admit_prototypes, admit_weights
from nasoa_runtime.storage.predictors import learn_once
from nasoa_runtime.storage.s3 import MissingObject
from nasoa_runtime.storage.weights import InvalidWeights
from nasoa_runtime.storage.zoo import ZooError, ZooNotFound, add_step_times, publish

LONGEST_REASON = 1500


class Actions:
    """Carries out actions. Blocking: called in a thread."""

    def __init__(
        self,
        documents: DocumentStore,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        refit: Callable[[str], None] | None = None,
    ) -> None:
        """Act on what is in ``documents``.

        Args:
            documents: the system bucket's.
            clock: the time.
            refit: called with a zoo's name when its predictor's trees are due to be fitted anew; without it that is
                left to other operators.
        """
        self._documents = documents
        self._clock = clock
        self._refit = refit

    def carry_out(self, action: Action) -> Event | None:
        """Do it, and say so."""
        match action:
            case Learn():
                return self._learn(action)
            case Publish():
                return self._publish(action)
            case AddStepTimes():
                return self._add_step_times(action)

    def _learn(self, action: Learn) -> Event:
        store, bucket, record = self._documents.store, self._documents.bucket, action.record
        receipt = learn_once(store, bucket, record.zoo, record)
        if receipt.refit_through is not None and self._refit is not None:
            self._refit(record.zoo)
        self._documents.create(action.receipt_key, Learned(version=receipt.version))
        if not record.runs:
            return Event("NothingLearned", "no run showed an accuracy, so the predictor stays as it is", "learn")
        message = f"the predictor of zoo {record.zoo} has learned the outcome: version {receipt.version}"
        return Event("Learned", message, "learn")

    def _publish(self, action: Publish) -> Event:
        store, bucket = self._documents.store, self._documents.bucket
        models, refused = [], []
        for model in action.models:
            try:
                models.append(admit_weights(store, bucket, action.zoo, model))
            except (InvalidWeights, MissingObject) as error:
                refused.append(f"{model.name}: {error}")
        if not models:
            return self._stopped(action, "WeightsRefused", "; ".join(refused))
        try:
            sources = {
                source: admit_prototypes(store, bucket, action.zoo, source, uri)
                for source, uri in action.prototypes.items()
            }
            manifest = publish(store, bucket, action.zoo, action.owner, models, sources, action.extractor)
        except (ZooError, MissingObject) as error:
            return self._stopped(action, "PublishingRefused", str(error))
        names = tuple(model.name for model in models)
        receipt = Published(models=names, version=manifest.version, refused=tuple(refused))
        self._documents.create(action.receipt_key, receipt)
        return Event("Published", f"zoo {action.zoo}, version {manifest.version}: {', '.join(names)}", "published")

    def _add_step_times(self, action: AddStepTimes) -> Event | None:
        try:
            add_step_times(self._documents.store, self._documents.bucket, action.zoo, action.rows, action.factors)
        except ZooNotFound:
            return None  # The zoo has gone since; the request goes on with the rows that its probe recorded.
        return Event("StepTimesAdded", f"new rows in the step-time table of zoo {action.zoo}", "step-times")

    def _stopped(self, action: Publish, reason: str, message: str) -> Event:
        document = Stop(reason=reason, message=message[:LONGEST_REASON], stopped_at=self._clock())
        self._documents.create(action.stop_key, document)
        return failed(reason, document.message)
