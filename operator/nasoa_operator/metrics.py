"""The operator's own metrics, for whoever is on call."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

from nasoa_runtime.documents.base import Document
from nasoa_runtime.documents.search import Measurements

RECONCILIATIONS = Counter("nasoa_operator_reconciliations", "Objects looked at.", ["kind", "outcome"])
RECONCILE_SECONDS = Histogram("nasoa_operator_reconcile_seconds", "Time of one look at an object.", ["kind"])
API_REQUESTS = Counter("nasoa_operator_api_requests", "Requests to the API server, watches aside.", ["method"])
S3_REQUESTS = Counter("nasoa_operator_s3_requests", "Requests to S3.", ["operation"])
DOCUMENTS = Counter("nasoa_operator_documents", "Decisions and records written to S3.", ["kind"])
STEP_TIME_DIFFERENCE = Histogram(
    "nasoa_operator_step_time_difference_seconds",
    "Scraped step time minus the one that the pod reported at its end.",
    buckets=(-0.1, -0.01, -0.001, -0.0001, 0.0, 0.0001, 0.001, 0.01, 0.1),
)
REFITS = Counter("nasoa_operator_refits", "Refits of a predictor's trees, by how they ended.", ["outcome"])
STEP_TIMES = Counter("nasoa_operator_step_times", "Step times recorded, by where they came from.", ["source"])
TASK_RESTARTS = Counter(
    "nasoa_background_task_restarts", "Background tasks that ended and were started again.", ["task"]
)


def observe_document(kind: str, document: Document) -> None:
    """Count a document that was written, and what the step times in it say of their two sources."""
    DOCUMENTS.labels(kind).inc()
    for measured in document.measurements if isinstance(document, Measurements) else ():
        STEP_TIMES.labels(measured.source).inc()
        if measured.difference_seconds is not None:
            STEP_TIME_DIFFERENCE.observe(measured.difference_seconds)
