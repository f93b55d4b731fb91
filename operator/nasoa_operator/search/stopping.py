"""How a search ends that can't go on. Pure."""

from __future__ import annotations

from nasoa_operator.events import failed
from nasoa_operator.plan import Plan
from nasoa_operator.search.observed import ObservedSearch
from nasoa_runtime.documents.keys import SearchPart
from nasoa_runtime.documents.search import Stop


def stop(observed: ObservedSearch, reason: str, message: str) -> Plan:
    """Persist that the search ends here, and why."""
    document = Stop(reason=reason, message=message, stopped_at=observed.now)
    return observed.write(SearchPart("stop"), document, failed(reason, message))
