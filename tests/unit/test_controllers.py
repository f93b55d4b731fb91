"""In which order an object's Jobs and records are looked at. What is found is told by the other tests."""

import pytest
from memory.lines import Call, Line
from request_simulation import RequestSimulation
from simulation import TINY, Simulation


class Looks(Line):
    """Remembers in which order Jobs and records were listed."""

    def __init__(self) -> None:
        self.order: list[str] = []

    def begin(self, call: Call) -> None:
        if call.name in {"list_jobs", "list"}:
            self.order.append({"list_jobs": "Jobs", "list": "records"}[call.name])


@pytest.mark.parametrize(
    "simulated",
    [
        pytest.param(lambda looks: Simulation(TINY, line=looks), id="of a search"),
        pytest.param(lambda looks: RequestSimulation(line=looks), id="of a request"),
    ],
)
def test_records_are_read_after_the_jobs_so_that_a_job_that_is_gone_is_seen_to_be_recorded(simulated):
    # Another operator deletes a Job once it is recorded. Read before that, records would call for the Job again.
    looks = Looks()
    simulated(looks).end()
    assert len(looks.order) >= 10
    assert looks.order == ["Jobs", "records"] * (len(looks.order) // 2)
