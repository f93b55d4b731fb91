"""Reading the data while torch is being imported, which takes several seconds on two cores."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from nasoa_runtime.boundary import PodInput
from nasoa_runtime.pods.dataset.reading import Dataset, read_dataset
from nasoa_runtime.pods.failures import BadDatasetError
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
    def start(cls, document: PodInput, pod: Pod) -> Prefetch:
        """Start to read the dataset that ``document`` names, if it names one."""
        reading = document.reading
        if reading is None:
            return cls()
        return cls(
            Background(
                lambda: read_dataset(
                    reading.dataset,
                    reading.preprocessing.image_size,
                    lambda: pod.store,
                    pod.work_directory,
                    interpolation=reading.preprocessing.interpolation,
                    with_test=reading.with_test_folder,
                )
            )
        )

    def dataset(self) -> Dataset:
        """The dataset, as soon as it is there.

        Raises:
            BadDatasetError: It can't be used, or the input names none.
        """
        if self._dataset is None:
            msg = "the input names none."
            raise BadDatasetError(msg, "dataset")
        return self._dataset.result()
