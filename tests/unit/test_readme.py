"""The documents keep their word: commands print what is shown, links lead somewhere, every reason is explained."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

import pytest
import yaml
from prometheus_client import Counter, Histogram
from typer.testing import CliRunner

from devcluster.__main__ import application as devcluster
from nasoa_operator import blockage, metrics
from nasoa_operator.settings import PREFIX, Settings
from nasoa_runtime.api.finetune_status import RequestPhase
from nasoa_runtime.api.kinds import KINDS, REQUEST, SEARCH
from nasoa_runtime.api.search_status import SearchPhase
from nasoa_runtime.cli.app import app
from nasoa_runtime.online.strategies import STRATEGIES
from nasoa_runtime.storage import errors as store_errors

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
TENANTS, ADMINS = ROOT / "docs/tenants.md", ROOT / "docs/admins.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "devcluster/README.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
EACH_PAGE = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES]

OPERATOR = ROOT / "operator/nasoa_operator"
DECIDING = [
    *(OPERATOR / f"{name}.py" for name in ("accept", "actions", "blockage", "obstacles", "pod_outcomes", "problems")),
    *(OPERATOR / f"{name}.py" for name in ("reconcile", "results")),
    *sorted(path for room in ("finetune", "search") for path in (OPERATOR / room).glob("*.py")),
    *(ROOT / "nasoa_runtime/online" / f"{name}.py" for name in ("candidates", "generator")),
]
"""Modules in which reasons are spelled."""
PROGRESS = {
    "Accepted", "Completed", "FineTuned", "GenerationEvaluated", "GenerationStarted", "JobCreated", "Learned",
    "LevelEnded", "ModelsPretrained", "ModelsSelected", "NothingLearned", "Probed", "Published", "Reachable",
    "Readable", "Runnable", "Scheduled", "StepTimeTableMeasured", "StepTimesAdded", "StepTimesMeasured", "Succeeded",
}  # fmt: skip
"""Reasons of what goes well, which need no explaining."""
NO_REASONS = {
    # Types of conditions, truths, types of events, kinds.
    "Complete", "Planned", "PodScheduled", "PodsRunnable", "Progressing", "StorageReachable", "DocumentsReadable",
    "DisruptionTarget",
    "False", "True", "Normal", "Warning", "Event", "FineTuneRequest", "NASSearch", "Secret", "FailIndex", "Ignore",
    # Kinds of outcomes, which become reasons of other names, and what Kubernetes calls ends.
    "BadInput", "Disrupted", "Error", "OOMKilled", "Running", "TimedOut",
    # A name of types, and those of presets.
    "Snapshot", "Default", "Paper",
}  # fmt: skip


def page_text(page):
    return page.read_text()


def shown_commands():
    """Commands of the README that need nothing around them, with their outputs."""
    for block in re.findall(r"```console\n(.*?)```", page_text(README), re.DOTALL):
        for command, output in re.findall(r"^\$ nasoa ([^\n]+)\n(.*?)(?=^\$ |\Z)", block, re.DOTALL | re.MULTILINE):
            yield pytest.param(command, output, id=command)


def timeless(text):
    """An output without the time that was taken, and without space at the ends of lines."""
    lines = re.sub(r"\d+ us an update", "_ us an update", text).strip().splitlines()
    return [line.rstrip() for line in lines]


def shown_objects():
    """Objects of ours in the pages' YAML."""
    for page in PAGES:
        for block in re.findall(r"```yaml\n(.*?)```", page_text(page), re.DOTALL):
            for document in yaml.safe_load_all(block):
                if document.get("apiVersion") == "nasoa.io/v1alpha1":
                    name = f"{page.relative_to(ROOT)}-{document['metadata']['name']}"
                    yield pytest.param(document, id=name)


def differing(part, whole, path=""):
    """Paths at which ``part`` says something else than ``whole``."""
    if not isinstance(part, dict):
        return [] if part == whole else [path]
    return [found for key in part for found in differing(part[key], (whole or {}).get(key), f"{path}.{key}")]


def anchors(page):
    """The anchors of a page's headings, as they are made on the web."""
    prose = re.sub(r"```.*?```", "", page_text(page), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", title.lower()).replace(" ", "-") for title in titles}


def spelled_words(path):
    """Strings of a module that could be reasons."""
    words = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
    return {word for word in words if isinstance(word, str) and re.fullmatch("[A-Z][A-Za-z]{3,62}", word)}


def reasons():
    """Every reason for which something does not go on."""
    found = set().union(*(spelled_words(path) for path in DECIDING))
    for error in vars(store_errors).values():
        # The condition's reason is the error's name.
        if isinstance(error, type) and issubclass(error, store_errors.StoreError):
            found.add(error.__name__.removesuffix("Error"))
    found |= blockage.IMAGE_REASONS | blockage.CREATING
    # The plain error is never raised, no pod of ours has init containers; phases and strategies are no reasons.
    never = {"Store", "PodInitializing", *get_args(RequestPhase), *get_args(SearchPhase), *STRATEGIES}
    return found - PROGRESS - NO_REASONS - never


def explained():
    """What stands in the first column of a table of reasons."""
    rows = re.findall(r"^\| (`[A-Z][^|]*) \|", page_text(TENANTS) + page_text(ADMINS), re.MULTILINE)
    return set(re.findall(r"`([A-Za-z]+)`", " ".join(rows)))


@pytest.mark.parametrize(("command", "output"), list(shown_commands()))
def test_a_command_of_the_readme_prints_what_is_shown(command, output, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, command.split())
    assert done.exit_code == 0, done.output
    assert timeless(done.output) == timeless(output)


def test_the_readme_shows_commands():
    assert len(list(shown_commands())) >= 3


@pytest.mark.parametrize("document", list(shown_objects()))
def test_an_object_that_is_shown_can_be_created(document):
    kind = next(kind for kind in KINDS if kind.kind == document["kind"])
    kind.spec.model_validate(document["spec"])


@pytest.mark.parametrize("name", [pytest.param("search", id="search"), pytest.param("requests", id="requests")])
def test_the_readme_shows_what_the_examples_say(name):
    examples = {d["metadata"]["name"]: d for d in yaml.safe_load_all((ROOT / f"examples/{name}.yaml").read_text())}
    blocks = re.findall(r"```yaml\n(.*?)```", page_text(README), re.DOTALL)
    shown = [d for d in map(yaml.safe_load, blocks) if d["metadata"]["name"] in examples]
    assert shown
    assert [differing(document, examples[document["metadata"]["name"]]) for document in shown] == [[]] * len(shown)


@pytest.mark.parametrize("kind", [pytest.param(SEARCH, id="search"), pytest.param(REQUEST, id="request")])
def test_the_readme_shows_the_columns_that_kubectl_prints(kind):
    columns = r"\s+".join(["NAME", *(name.upper() for name, _, _ in kind.columns), "AGE"])
    assert re.search(rf"^{columns}$", page_text(README), re.MULTILINE)


@pytest.mark.parametrize("page", EACH_PAGE)
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", page_text(page)):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), target
            assert not anchor or anchor in anchors(page.parent / target if target else page), f"{target}#{anchor}"


@pytest.mark.parametrize("page", EACH_PAGE)
def test_what_is_to_be_made_can_be_made(page):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", page_text(page), re.MULTILINE)) <= targets


@pytest.mark.parametrize("page", EACH_PAGE)
def test_commands_of_the_cluster_are_there(page):
    commands = {command.name or command.callback.__name__ for command in devcluster.registered_commands}
    assert set(re.findall(r"python -m devcluster ([a-z]+)", page_text(page))) <= commands


def test_every_reason_for_which_something_does_not_go_on_is_explained():
    assert len(reasons()) >= 40
    assert reasons() - explained() == set()


def test_no_reason_is_explained_that_is_never_given():
    by_the_kubelet = {"CreateContainerConfigError"}
    phases = {*get_args(RequestPhase), *get_args(SearchPhase)}
    assert explained() - reasons() - by_the_kubelet - phases - PROGRESS == set()


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_a_setting_is_told_to_administrators(name):
    row = next(line for line in page_text(ADMINS).splitlines() if f"`{PREFIX}{name.upper()}`" in line)
    default = Settings.model_fields[name].default
    if isinstance(default, str | int | float):
        shown = f"{default:g}" if isinstance(default, int | float) else default
        assert shown in row


def test_the_operators_metrics_are_told_to_administrators():
    own = [value for value in vars(metrics).values() if isinstance(value, Counter | Histogram)]
    names = {family.name for collector in own for family in collector.describe()}
    assert len(names) >= 7
    assert {name for name in names if name not in page_text(ADMINS)} == set()


def test_every_field_of_a_request_is_told_to_tenants():
    fields = {field.alias or name for name, field in REQUEST.spec.model_fields.items()}
    rows = {word.split(".")[0] for word in re.findall(r"^\| `([A-Za-z.]+)`", page_text(TENANTS), re.MULTILINE)}
    assert fields - rows == set()


def test_every_decision_is_listed_by_its_title():
    decisions = ROOT / "docs/decisions"
    titles = {path.name: page_text(path).splitlines()[0] for path in sorted(decisions.glob("[0-9]*.md"))}
    listed = dict(re.findall(r"^- \[([^]]+)\]\(([^)]+)\)$", page_text(decisions / "README.md"), re.MULTILINE))
    assert {f"# {title}": name for title, name in listed.items()} == {title: name for name, title in titles.items()}
