"""Replaying recorded outcomes: predict, then learn, one run after another (``nasoa predictor replay``).

Only the last point of each recorded run is an outcome. Everything is deterministic but ``update_us``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.learners import DEFAULT, make_learner
from nasoa_runtime.online.records import UnreadableRecords, read_records

SEGMENTS = {"20-40": (0.2, 0.4), "80-100": (0.8, 1.0)}
"""Shares of the stream whose errors are also reported alone: early, and after most has been learned."""


def replay(
    records: Path | str, warm_start: Path | str | None = None, algorithm: str = DEFAULT, seed: int = 0
) -> dict[str, Any]:
    """Predict, then learn, every finished run of ``records`` in an order shuffled by ``seed``.

    Args:
        records: CSV file (SPEC 12).
        warm_start: CSV file whose finished runs are learned first, in an order shuffled by the same seed.
        algorithm: a name that :func:`~nasoa_runtime.online.learners.make_learner` knows.
        seed: of the orders and of the network's initialisation.

    Returns:
        ``mae`` and ``mse`` of accuracy in [0, 1], ``segments`` (the same for parts of the stream), ``update_us``
        (median microseconds of one update), ``records`` (length of the stream).
    """
    learner = make_learner(algorithm, seed)
    if warm_start is not None:
        learner.start([[run] for run in read_records(warm_start, final_only=True)])
    runs = read_records(records, final_only=True)
    if not runs:
        msg = f"{records}: no row has final=True"
        raise UnreadableRecords(msg)
    errors, update_seconds = learner.run(runs, seed)
    segments = {
        name: _errors_summary(errors[int(start * len(errors)) : int(end * len(errors))])
        for name, (start, end) in SEGMENTS.items()
    }
    return {
        **_errors_summary(errors),
        "segments": segments,
        "update_us": float(np.median(update_seconds) * 1e6),
        "records": len(runs),
        "algorithm": algorithm,
        "seed": seed,
    }


def _errors_summary(errors: NDArray[np.float64]) -> dict[str, float]:
    """Mean absolute and mean squared error; 0 of an empty part, which a tiny stream can have."""
    if errors.size == 0:
        return {"mae": 0.0, "mse": 0.0}
    return {"mae": float(np.abs(errors).mean()), "mse": float((errors * errors).mean())}
