"""Refits run beside the operator: one for each zoo at a time, counted, and ended with it."""

import sys

import pytest

from nasoa_operator import metrics
from nasoa_operator.refits import Refits, refit_command


def counted(outcome):
    return metrics.REFITS.labels(outcome)._value.get()


def running(code):
    return Refits(lambda zoo: [sys.executable, "-c", code, zoo])


@pytest.mark.parametrize(("code", "outcome"), [("print('done')", "ok"), ("raise SystemExit(3)", "error")])
def test_a_refit_is_counted_by_how_it_ended(code, outcome):
    before = counted(outcome)
    refits = running(code)
    refits.start("fashion")
    refits.wait("fashion")
    assert counted(outcome) == before + 1


def test_one_zoo_has_one_refit_at_a_time_and_another_after_it(tmp_path):
    gate = tmp_path / "gate"
    # Each run leaves a file, and the first one waits until it is let go.
    code = f"""
import os, pathlib, sys, time
folder = pathlib.Path({str(tmp_path)!r})
(folder / f"run-{{os.getpid()}}").touch()
while not pathlib.Path({str(gate)!r}).exists():
    time.sleep(0.01)
"""
    refits = running(code)
    for _ in range(3):
        refits.start("fashion")
    gate.touch()
    refits.wait("fashion")
    assert len(list(tmp_path.glob("run-*"))) == 1
    refits.start("fashion")
    refits.wait("fashion")
    assert len(list(tmp_path.glob("run-*"))) == 2


def test_stopping_ends_what_runs_and_is_no_failure():
    before = counted("error")
    refits = running("import time; time.sleep(600)")
    refits.start("fashion")
    refits.stop()
    refits.wait("fashion")
    refits.start("fashion")
    assert counted("error") == before


def test_the_command_is_the_one_that_an_administrator_would_run():
    assert refit_command("fashion")[1:] == ["-m", "nasoa_runtime.cli", "predictor", "refit", "fashion", "--json"]
