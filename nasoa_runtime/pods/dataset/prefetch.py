"""Reading the data while torch is being imported, which takes several seconds on two cores."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from nasoa_runtime.boundary import (
    AnyInput,
    DatasetReference,
    EvaluateInput,
    FinetuneInput,
    Preprocessing,
    PretrainInput,
    ProbeInput,
    ProfileInput,
)
from nasoa_runtime.pods.dataset.reading import Dataset, read_dataset
from nasoa_runtime.pods.failures import BadInputError
from nasoa_runtime.pods.pod import Pod

T = TypeVar("T")


class Background(Generic[T]):
    """A value being computed by a daemon thread, which never keeps the process from ending."""

    def __init__(self, compute: Callable[[], T]) -> None:
        self._future: Future[T] = Future()
        threading.Thread(target=self._run, args=(compute,), name="prefetch", daemon=True).start()

    def _run(self, compute: Callable[[], T]) -> None:
        try:
            self._future.set_result(compute())
        except BaseException as error:  # noqa: BLE001 - handed to whoever asks for the value
            self._future.set_exception(error)

    def result(self) -> T:
        """Wait for the value, or for the error that there was instead."""
        return self._future.result()


@dataclass(frozen=True)
class Prefetch:
    """The dataset of an input, on its way."""

    _dataset: Background[Dataset] | None = None

    @classmethod
    def start(cls, document: AnyInput, pod: Pod) -> Prefetch:
        """Start to read the dataset that ``document`` names, if it names one."""
        plan = _plan(document)
        if plan is None:
            return cls()
        reference, preprocessing, with_test = plan
        return cls(
            Background(
                lambda: read_dataset(
                    reference,
                    preprocessing.image_size,
                    lambda: pod.store,
                    pod.work_directory,
                    interpolation=preprocessing.interpolation,
                    with_test=with_test,
                )
            )
        )

    def dataset(self) -> Dataset:
        """The dataset, as soon as it is there.

        Raises:
            BadInputError: It can't be used, or the input names none.
        """
        if self._dataset is None:
            msg = "dataset: the input names none."
            raise BadInputError(msg)
        return self._dataset.result()


def probe_preprocessing(document: ProbeInput) -> Preprocessing:
    """How a probe loads images: as its extractor wants them, else as its most modest model does."""
    if document.extractor is not None:
        return document.extractor.preprocessing
    modest = min(document.models, key=lambda m: m.model.preprocessing.image_size, default=None)
    return Preprocessing(image_size=32) if modest is None else modest.model.preprocessing


def _plan(document: AnyInput) -> tuple[DatasetReference, Preprocessing, bool] | None:
    """Dataset, how its images are loaded, and whether the test folder is read."""
    match document:
        case EvaluateInput() | PretrainInput():
            return document.dataset, Preprocessing(image_size=document.recipe.image_size), False
        case FinetuneInput():
            chosen = document.regimes[0].model
            model = next(model for model in document.models if model.name == chosen)
            return document.dataset, model.preprocessing, True
        case ProbeInput():
            return document.dataset, probe_preprocessing(document), True
        case ProfileInput(prototypes_of=DatasetReference() as reference, extractor=extractor) if extractor:
            return reference, extractor.preprocessing, False
        case _:
            return None
