"""Fitting a zoo's trees anew to its outcomes, and adopting them. Any operator may do it, any number of them at once.

What is fitted is settled by the version alone: the packaged records, and the outcomes that had been learned by then.
The trees are stored under their digest, create-only. The state is replaced by compare-and-swap, unless it has trees
that have seen as much already; it says which trees it has adopted and at which version, so that a rebuild adopts them
there again.
"""

from __future__ import annotations

import logging

from nasoa_runtime.documents.keys import PredictorKeys
from nasoa_runtime.online import state_bytes
from nasoa_runtime.online.experience import Experience
from nasoa_runtime.online.forest import Forest, fit_forest
from nasoa_runtime.online.warm_start import packaged_experience
from nasoa_runtime.storage.outcomes import PredictorObjects
from nasoa_runtime.storage.predictors import ATTEMPTS, versions_of_outcomes
from nasoa_runtime.storage.s3 import Contended, ObjectStore

log = logging.getLogger(__name__)
SEED = 0


def refit(store: ObjectStore, bucket: str, zoo: str) -> int | None:
    """Fit and adopt what is due; the version through which trees have seen outcomes then, ``None`` if nothing was due.

    Raises:
        UnreadableDocumentError: the state, a record or a marker can't be read; all are left as they are.
    """
    objects = PredictorObjects(store, bucket, PredictorKeys(zoo))
    found = objects.state()
    through = None if found is None else objects.parsed(found).refit_due
    if through is None:
        return None
    forest = fit_forest(known_through(objects, through), SEED)
    adopt(objects, forest, through)
    return through


def known_through(objects: PredictorObjects, version: int) -> Experience:
    """The packaged records, and what had been learned by ``version``, in its order."""
    learned = [record for at, record in versions_of_outcomes(objects) if at <= version and record.runs]
    return Experience.concatenated([packaged_experience(), *map(Experience.of_record, learned)])


def adopt(objects: PredictorObjects, forest: Forest, through: int) -> bool:
    """Make ``forest`` the trees of the zoo's predictor; ``False`` if it has such that have seen as much."""
    digest = objects.keep_trees(forest.dump())
    for _ in range(ATTEMPTS):
        found = objects.state()
        if found is None:
            return False
        state = objects.parsed(found)
        if state.fitted_through >= through:
            for adoption in state.adoptions:
                objects.mark_adoption(adoption)
            return False
        adopting = state.adopting(forest, digest, through)
        if objects.swap(found, state_bytes.dump(adopting)):
            objects.mark_adoption(adopting.adoptions[-1])
            log.info("The predictor has adopted trees fitted through version %d.", through)
            return True
    msg = f"{objects.state_uri}: other requests were learned first {ATTEMPTS} times"
    raise Contended(msg)
