"""Walls of the house that import-linter does not see."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_devcluster_never_names_the_product():
    files = [path for path in (ROOT / "devcluster").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert len(files) >= 50
    assert [str(path.relative_to(ROOT)) for path in files if b"nasoa" in path.read_bytes().lower()] == []
