"""Runs with what they showed, as columns."""

import numpy as np
from recorded import a_curve

from nasoa_runtime.online.description import Batch
from nasoa_runtime.online.experience import Experience
from nasoa_runtime.online.recorded_features import described

CURVES = [a_curve("1", 0.2, 0.4, model="xcit"), a_curve("2", 0.3, dataset="CAT"), a_curve("3", 0.1, 0.5, 0.6)]


def test_parts_that_are_put_together_are_what_they_would_be_as_one():
    together = Experience.concatenated([Experience.of_curves([curve]) for curve in CURVES])
    at_once = Experience.of_curves(CURVES)
    assert together.runs.descriptions() == at_once.runs.descriptions()
    for name in ("requests", "run", "steps", "reached", "annealed", "seconds", "ends"):
        assert getattr(together, name).tolist() == getattr(at_once, name).tolist()
    assert together.runs.datasets.tolist() == ["DOG", "CAT", "DOG"]


def test_models_of_several_parts_are_told_apart_and_known_once():
    ends = [curve[-1] for curve in CURVES]
    batch = Batch.concatenated([described(ends[:2]), described(ends[2:]), described(ends[:1])])
    assert batch.models == ("xcit", "beit")
    assert [batch.models[index] for index in batch.model_index] == ["xcit", "beit", "beit", "xcit"]


def test_some_of_the_runs_keep_all_of_their_points():
    some = Experience.of_curves(CURVES).subset(np.array([True, False, True]))
    assert some.run.tolist() == [0, 0, 1, 1, 1]
    assert some.reached.tolist() == [0.2, 0.4, 0.1, 0.5, 0.6]
