"""What plans do to shared state in S3: teach the predictor, publish to the zoo. Each is done once, however often tried.

An action ends by writing the document that says it is done. It may be stopped anywhere before that, and is then tried
again; all its writes are create-only or compare-and-swap.
"""

from __future__ import annotations

from typing import Any

from nasoa_operator.events import failed
from nasoa_operator.jobs import Owner
from nasoa_operator.observe import Documents
from nasoa_operator.plan import Action, AddStepTimes, Event, Learn, Publish
from nasoa_runtime.boundary import Extractor, StepTime, canonical_json
from nasoa_runtime.storage.intake import admit_prototypes, admit_weights
from nasoa_runtime.storage.predictors import learn_once
from nasoa_runtime.storage.s3 import MissingObject, UnreadableObjectError
from nasoa_runtime.storage.weights import InvalidWeights
from nasoa_runtime.storage.zoo import ZooError, ZooModel, ZooNotFound, add_step_times, publish


class Actions:
    """Carries out actions. Blocking: called in a thread."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def carry_out(self, action: Action, owner: Owner) -> Event | None:
        """Do it, and say so."""
        match action:
            case Learn():
                return self._learn(action, owner)
            case Publish():
                return self._publish(action)
            case AddStepTimes():
                return self._add_step_times(action)

    def _learn(self, action: Learn, owner: Owner) -> Event:
        store, bucket = self._documents.store, self._documents.bucket
        receipt = learn_once(store, bucket, action.zoo, action.record)
        self._record(f"requests/{owner.uid}/learned.json", {"formatVersion": 1, "version": receipt.version})
        if not action.record.runs:
            return Event("NothingLearned", "no run showed an accuracy, so the predictor stays as it is", "learn")
        message = f"the predictor of zoo {action.zoo} has learned the outcome: version {receipt.version}"
        return Event("Learned", message, "learn")

    def _publish(self, action: Publish) -> Event:
        store, bucket = self._documents.store, self._documents.bucket
        stop = action.document.removesuffix("published.json") + "stop.json"
        models, refused = [], []
        for fields in action.models:
            model = ZooModel.model_validate(fields)
            try:
                models.append(admit_weights(store, bucket, action.zoo, model))
            except (InvalidWeights, MissingObject) as error:
                refused.append(f"{model.name}: {error}")
        if not models:
            return self._stopped(stop, "WeightsRefused", "; ".join(refused)[:1500])
        try:
            sources = {
                source: admit_prototypes(store, bucket, action.zoo, source, uri)
                for source, uri in action.prototypes.items()
            }
            extractor = Extractor.model_validate(action.extractor) if action.extractor else None
            manifest = publish(store, bucket, action.zoo, action.owner, models, sources, extractor)
        except (ZooError, MissingObject, UnreadableObjectError) as error:
            return self._stopped(stop, "PublishingRefused", str(error)[:1500])
        names = [model.name for model in models]
        body = {"formatVersion": 1, "models": names, "version": manifest.version, "refused": refused}
        self._record(action.document, body)
        message = f"zoo {action.zoo}, version {manifest.version}: {', '.join(names)}"
        return Event("Published", message, "published")

    def _add_step_times(self, action: AddStepTimes) -> Event | None:
        rows = {name: [StepTime.model_validate(row) for row in found] for name, found in action.rows.items()}
        try:
            add_step_times(self._documents.store, self._documents.bucket, action.zoo, rows)
        except ZooNotFound:
            return None  # The zoo has gone since; the request goes on with the rows that its probe recorded.
        return Event("StepTimesAdded", f"new rows in the step-time table of zoo {action.zoo}", "step-times")

    def _stopped(self, document: str, reason: str, message: str) -> Event:
        self._record(document, {"formatVersion": 1, "reason": reason, "message": message})
        return failed(reason, message)

    def _record(self, key: str, body: dict[str, Any]) -> None:
        self._documents.create(key, canonical_json(body))
