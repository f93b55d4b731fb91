"""In which order an object's Jobs and records are looked at. What is found is tested on a real API server and S3."""

import asyncio
from datetime import UTC, datetime

import pytest
from builders import a_request, a_search

from nasoa_operator.controllers import RequestController, SearchController
from nasoa_operator.jobs import Owner
from nasoa_operator.settings import Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Looks:
    """A cluster without Jobs and a store without documents that remember what was asked of them."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.store, self.bucket = self, "system"

    async def list_jobs(self, namespace, uid):
        self.order.append("Jobs")
        return []

    def read_all(self, prefix):
        self.order.append("records")
        return {}

    def get(self, uri):
        return None


@pytest.mark.parametrize(
    ("controller", "manifest"),
    [
        pytest.param(SearchController, a_search("one", "team"), id="of a search"),
        pytest.param(RequestController, a_request("one", "team"), id="of a request"),
    ],
)
def test_records_are_read_after_the_jobs_so_that_a_job_that_is_gone_is_seen_to_be_recorded(controller, manifest):
    # Another operator deletes a Job once it is recorded. Read before that, records would call for the Job again.
    looks = Looks()
    owner = Owner(manifest["apiVersion"], manifest["kind"], "team", "one", "a-uid")
    metadata = {"generation": 1, "creationTimestamp": NOW.isoformat(), "uid": "a-uid"}
    observed = controller(looks, looks, None, Settings()).observe(manifest | {"metadata": metadata}, owner, NOW)
    asyncio.run(observed)
    assert looks.order == ["Jobs", "records"]
