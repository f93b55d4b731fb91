"""Make the packaged records and the packaged start of ``hedge``.

Run ``.venv/bin/python -m benchmarks.start [--records FILE]``: half a minute on one core. With ``--records``, the
recorded runs (all columns) are packed first, at most sixteen points of each, evenly in the logarithm. Equal records
give equal bytes on one machine with the locked versions.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
from dataclasses import replace
from pathlib import Path

from nasoa_runtime.boundary import MOST_POINTS
from nasoa_runtime.online.experience import log_spaced
from nasoa_runtime.online.forest import digest_of
from nasoa_runtime.online.hedged import Hedged
from nasoa_runtime.online.records import open_text
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.online.state_bytes import dump
from nasoa_runtime.online.warm_start import RECORDED, START, TREES, WARM_START, packaged_experience


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=Path)
    arguments = parser.parse_args()
    if arguments.records:
        RECORDED.write_bytes(packed(arguments.records))
    hedged = Hedged.started(packaged_experience(), seed=0)
    assert hedged.forest is not None
    stored = hedged.forest.dump()
    TREES.write_bytes(stored)
    START.write_bytes(dump(PredictorState(replace(hedged, forest_digest=digest_of(stored)), warm_start=WARM_START)))
    print(f"weights {hedged.weights.round(3)}, trees {len(stored)} bytes, {digest_of(stored)[:12]}")
    return 0


def packed(path: Path) -> bytes:
    """The file with fewer points of each run."""
    with open_text(path) as stream:
        reader = csv.DictReader(stream)
        rows = list(reader)
        names = list(reader.fieldnames or ())
    curves: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        curves.setdefault(row["curve"], []).append(row)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for curve in curves.values():
        ordered = sorted(curve, key=lambda row: float(row["iterations"]))
        writer.writerows(ordered[index] for index in log_spaced(len(ordered), MOST_POINTS))
    return gzip.compress(text.getvalue().encode(), mtime=0)


if __name__ == "__main__":
    raise SystemExit(main())
