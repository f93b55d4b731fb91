"""Builders for tests of training: small networks, their trainers, and datasets of tiny images."""

from __future__ import annotations

from pathlib import Path

import torch
from memory.store import MemoryStore

from nasoa_runtime.boundary import DatasetReference, FinetuneInput, ModelReference, Preprocessing, Regime, digest
from nasoa_runtime.pods.dataset.reading import Dataset, read_dataset
from nasoa_runtime.pods.networks.building import build_model
from nasoa_runtime.pods.networks.freezing import freeze
from nasoa_runtime.pods.training.augmentation import CROPS, Augmentation
from nasoa_runtime.pods.training.batches import Loader
from nasoa_runtime.pods.training.device import Target
from nasoa_runtime.pods.training.loop import Hyperparameters, Trainer

CPU = Target(torch.device("cpu"))
SIZE = Preprocessing(image_size=16)
HYPERPARAMETERS = Hyperparameters(learning_rate=0.05, batch_size=16)
TINY = "0-_8_1-1-1-1"


def read(root: Path, **arguments) -> Dataset:
    """The dataset in a directory, for images of 16 x 16."""
    return read_dataset(DatasetReference(uri=str(root)), 16, lambda: None, root.parent / "work", **arguments)


def a_trainer(steps: int = 20, hyperparameters: Hyperparameters = HYPERPARAMETERS, frozen_stages: int = 0) -> Trainer:
    """Of the smallest network, for three classes; always from the same weights."""
    torch.manual_seed(0)
    model = build_model(TINY, 3, low_resolution_stem=True)
    freeze(model, frozen_stages)
    trainer = Trainer(model, hyperparameters, CPU)
    trainer.plan(steps)
    return trainer


def a_loader(dataset: Dataset, seed: int = 0, augmentation: Augmentation = CROPS) -> Loader:
    """Batches of 16."""
    return Loader(dataset, SIZE, 16, seed, CPU, augmentation)


def a_finetune_input(
    store: MemoryStore,
    root: Path,
    strategy: str,
    regimes: tuple[Regime, ...],
    limit_seconds: float,
    **model: object,
) -> FinetuneInput:
    """What a pod is given to fine-tune the smallest network, whose weights are in ``store``; ``model`` changes that."""
    fields = {
        "name": "tiny",
        "architecture": TINY,
        "weights_uri": "s3://zoo/weights",
        "weights_digest": digest(store.get("s3://zoo/weights").body),
        "source_classes": 4,
        "preprocessing": SIZE,
        "low_resolution_stem": True,
    }
    return FinetuneInput(
        result_uri="s3://tenant/results",
        request="team/stripes",
        dataset=DatasetReference(uri=str(root)),
        time_limit_seconds=limit_seconds,
        batch_size=8,
        models=(ModelReference.model_validate(fields | model),),
        strategy=strategy,
        regimes=regimes,
        output_uri="s3://tenant/model",
        work_uri="s3://tenant/work",
    )
