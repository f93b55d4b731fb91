"""Builders for tests of training: small networks, their trainers, and datasets of tiny images."""

from __future__ import annotations

from pathlib import Path

import torch

from nasoa_runtime.boundary import DatasetReference, Preprocessing
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
