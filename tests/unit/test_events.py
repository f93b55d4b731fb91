from datetime import UTC, datetime

from nasoa_operator.events import event_manifest, failed, transitions
from nasoa_operator.jobs import Owner
from nasoa_operator.plan import Event

OWNER = Owner("nasoa.io/v1alpha1", "FineTuneRequest", "team", "digits", "0a1b2c3d-0000")
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def name_of(event):
    return event_manifest(OWNER, event, NOW)["metadata"]["name"]


def with_condition(kind, truth, reason, message=""):
    return {"conditions": [{"type": kind, "status": truth, "reason": reason, "message": message}]}


def test_a_failure_and_its_condition_are_one_event_so_that_an_operator_that_dies_between_both_loses_nothing():
    [told] = transitions({}, with_condition("Failed", "True", "ProbeFailed", "exit code 1"))
    assert told == failed("ProbeFailed", "exit code 1")
    assert name_of(told) == name_of(failed("ProbeFailed", "exit code 1"))


def test_events_of_one_second_are_named_in_the_order_in_which_they_make_sense():
    story = [
        Event("Accepted", "the request is accepted", "Accepted-True-Accepted"),
        Event("Probed", "10 classes", "probe"),
        Event("Scheduled", "fashion-1", "schedule"),
        Event("JobCreated", "one pod for finetune", "job-finetune"),
        failed("FineTuningFailed", "exit code 1"),
    ]
    names = [name_of(event) for event in story]
    assert names == sorted(names)


def test_a_condition_that_stays_is_not_told_again():
    status = with_condition("Accepted", "True", "Accepted")
    assert transitions(status, with_condition("Accepted", "True", "Accepted", "another message")) == []
    told = transitions(status, with_condition("Accepted", "False", "ZooNotFound"))
    assert [event.reason for event in told] == ["ZooNotFound"]


def test_a_store_that_is_away_is_told_when_it_goes_and_not_when_it_is_back():
    away = with_condition("StorageReachable", "False", "StoreUnavailable", "connection refused")
    assert [(event.type, event.reason, event.message) for event in transitions({}, away)] == [
        ("Warning", "StoreUnavailable", "connection refused")
    ]
    assert transitions(away, with_condition("StorageReachable", "True", "Reachable")) == []


def test_a_message_ends_where_the_api_server_would_refuse_it_and_within_no_character():
    message = event_manifest(OWNER, failed("BadDataset", "é" * 1200), NOW)["message"]
    assert message == "é" * 500
