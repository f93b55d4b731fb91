"""What ``hedge`` costs: a prediction of 8,000 candidates, learning one request, a refit over 5,000 runs, and memory.

Run ``.venv/bin/python -m benchmarks.hedge [--json]``: a minute on one core. CPU time, medians; exits 1 over a target.
The peer is scikit-learn's HistGradientBoostingRegressor with as many trees, fitted to the lessons of one expert and
asked the same. Memory is resident, of a process that has loaded the packaged start and predicted once, over one that
has ``adaptive-mlp``; neither may import scikit-learn or pandas, which LightGBM would else load and the operator's image
does not have.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from nasoa_runtime.online.description import Batch
from nasoa_runtime.online.experience import Experience
from nasoa_runtime.online.forest import fit_forest
from nasoa_runtime.online.lessons import Lessons
from nasoa_runtime.online.trees import MEMBERS, ROUNDS
from nasoa_runtime.online.vocabulary import CODED, Vocabulary
from nasoa_runtime.online.warm_start import packaged_experience, recorded_runs, warm_started

CANDIDATES, RUNS, RACED = 8000, 5000, 27
TARGETS = {"predict_ms": 250.0, "learn_ms": 50.0, "refit_s": 20.0, "memory_mb": 40.0}
ASK = """
import sys
for name in ("sklearn", "pandas", "pyarrow", "matplotlib", "dask"):
    sys.modules[name] = None
from nasoa_runtime.boundary import DatasetStatistics, Regime
from nasoa_runtime.documents.outcomes import ModelFacts
from nasoa_runtime.online.description import describe
from nasoa_runtime.online.regimes import Regimes
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.online.warm_start import warm_started
state = warm_started() if sys.argv[1] == "hedge" else PredictorState.new("adaptive-mlp")
dataset = DatasetStatistics(digest="0" * 64, classes=10, images=1000, validation_images=1, test_images=0,
                            images_per_class_mean=100, images_per_class_std=0)
regime = Regime(model="a", learning_rate=0.01, frozen_stages=0, steps=100, step_seconds=1, predicted_accuracy=0)
state.predict(describe((ModelFacts(name="a", source="b", source_accuracy=0.7, parameters=10, macs=10),), dataset,
                       Regimes.of((regime,), 32)))
with open("/proc/self/status") as stream:
    print(next(int(line.split()[1]) / 1e3 for line in stream if line.startswith("VmRSS")))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    state = warm_started()
    recorded = recorded_runs()
    asked = many(recorded.runs, CANDIDATES)
    known = of_runs(RUNS)
    request = recorded.subset(np.arange(len(recorded)) % 75 == 0).subset(np.arange(28) < RACED)
    figures = {
        "predict_ms": 1e3 * cpu(lambda: state.predict(asked), 5),
        "learn_ms": 1e3 * cpu(lambda: state.predictor.learn(request), 5),
        "refit_s": cpu(lambda: fit_forest(known, 0), 1),
        "refit_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "memory_mb": memory("hedge") - memory("adaptive-mlp"),
    }
    peers = peer(known, asked)
    if arguments.json:
        print(json.dumps({"ours": figures, "peer": peers}))
    else:
        print(f"{'':16}{'hedge':>10}{'peer':>10}{'target':>10}")
        for name, value in figures.items():
            other, target = peers.get(name), TARGETS.get(name)
            cells = [f"{figure:10.1f}" if figure is not None else " " * 10 for figure in (value, other, target)]
            print(f"{name:16}" + "".join(cells))
    return int(any(figures[name] > target for name, target in TARGETS.items()))


def many(runs: Batch, count: int) -> Batch:
    """So many runs, with repetitions."""
    return runs.take(np.arange(count) % len(runs))


def of_runs(count: int) -> Experience:
    """The packaged records and, up to this number of runs, outcomes that are like them."""
    known, recorded = [packaged_experience()], recorded_runs()
    random = np.random.default_rng(0)
    for request in range((count - len(known[0])) // RACED):
        chosen = np.zeros(len(recorded), np.bool_)
        chosen[random.choice(len(recorded), RACED, replace=False)] = True
        raced = recorded.subset(chosen)
        known.append(replace(raced, requests=np.full(RACED, f"request-{request}", np.object_)))
    return Experience.concatenated(known)


def peer(known: Experience, asked: Batch) -> dict[str, float]:
    """The same lessons and the same question for boosted trees of scikit-learn's."""
    from sklearn.ensemble import HistGradientBoostingRegressor  # noqa: PLC0415 - after memory has been measured

    vocabulary, lessons = Vocabulary.of(known.runs), Lessons.of(known)
    features, wanted = vocabulary.encode(lessons.points), vocabulary.encode(asked)
    # It can't use a column of which nothing is known.
    told = ~np.isnan(features).all(axis=0)
    features, wanted, coded = features[:, told], wanted[:, told], np.isin(np.flatnonzero(told), CODED)
    model = HistGradientBoostingRegressor(
        max_iter=MEMBERS * ROUNDS, learning_rate=0.1, random_state=0, categorical_features=coded
    )
    fitted = cpu(lambda: model.fit(features, lessons.reached), 1)
    return {"refit_s": fitted, "predict_ms": 1e3 * cpu(lambda: model.predict(wanted), 5)}


def cpu(act: Callable[[], object], times: int) -> float:
    """Median CPU seconds; with several, the first one warms up."""
    seconds = []
    for _ in range(times + (times > 1)):
        started = time.process_time()
        act()
        seconds.append(time.process_time() - started)
    return statistics.median(seconds[times > 1 :])


def memory(algorithm: str) -> float:
    """Resident megabytes of a process that has predicted."""
    asked = [sys.executable, "-c", ASK, algorithm]
    return float(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    raise SystemExit(main())
