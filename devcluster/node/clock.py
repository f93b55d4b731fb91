"""Time in the form the Kubernetes API writes it."""

from datetime import UTC, datetime


def rfc3339(moment: datetime | None = None) -> str:
    """Returns a time (now by default) with whole seconds, as in object statuses."""
    return (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_micro(moment: datetime | None = None) -> str:
    """Returns a time (now by default) with microseconds, as in Leases and log lines."""
    return (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_rfc3339(text: str) -> datetime:
    """Reads either form."""
    return datetime.fromisoformat(text)
