"""The documents keep their word: commands print what is shown, links lead somewhere, every reason is explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nasoa_runtime.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Reasons of progress, which need no explaining.
GOOD = {
    "Accepted", "Scheduled", "Succeeded", "Published", "Reachable", "Runnable", "Failed", "JobCreated", "Probed",
    "FineTuned", "Learned", "NothingLearned", "StepTimesAdded", "StepTimesMeasured", "GenerationStarted",
    "GenerationEvaluated", "LevelEnded", "ModelsSelected", "ModelsPretrained", "StepTimeTableMeasured", "Completed",
}  # fmt: skip
REASONED = re.compile(
    r"(?:Problem|AcceptanceProblem|Blockage|Failure|Event|stop\(observed,|self\._stopped\(stop,)\(?\s*\"([A-Z]\w+)\""
)


def shown_commands():
    """Commands of the README that need nothing around them, with their outputs."""
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for block in blocks:
        for command, output in re.findall(r"^\$ nasoa ([^\n]+)\n(.*?)(?=^\$ |\Z)", block, re.DOTALL | re.MULTILINE):
            yield pytest.param(command, output, id=command)


def timeless(text):
    """An output without the time that was taken, and without space at the ends of lines."""
    lines = re.sub(r"\d+ us an update", "_ us an update", text).strip().splitlines()
    return [line.rstrip() for line in lines]


@pytest.mark.parametrize(("command", "output"), list(shown_commands()))
def test_a_command_of_the_readme_prints_what_is_shown(command, output, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, command.split())
    assert done.exit_code == 0, done.output
    assert timeless(done.output) == timeless(output)


def test_the_readme_shows_commands():
    assert len(list(shown_commands())) >= 3


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), target


def test_every_reason_for_which_something_does_not_go_on_is_explained():
    explained = (ROOT / "docs/tenants.md").read_text() + (ROOT / "docs/admins.md").read_text()
    sources = (ROOT / "operator/nasoa_operator").rglob("*.py")
    reasons = {reason for source in sources for reason in REASONED.findall(source.read_text())} - GOOD
    assert len(reasons) >= 20
    assert {reason for reason in reasons if f"`{reason}`" not in explained} == set()
