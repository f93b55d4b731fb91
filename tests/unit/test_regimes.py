"""Whatever a regime says, the fine-tuning pod does it, and delivers a model like any other."""

import itertools
import json
import time
from pathlib import Path

import pytest
import torch
from image_folders import make_images, upload
from s3 import a_server, an_empty_store
from training import CPU

from nasoa_runtime.boundary import FinetuneInput, Store, digest
from nasoa_runtime.pods.clock import Clock
from nasoa_runtime.pods.dataset.reading import read_dataset
from nasoa_runtime.pods.networks.building import build_model
from nasoa_runtime.pods.networks.weights import weights_bytes
from nasoa_runtime.pods.pod import Pod
from nasoa_runtime.pods.training.checkpoint import Checkpoint
from nasoa_runtime.pods.training.evaluation import Evaluation
from nasoa_runtime.pods.training.finetuning import Finetuning
from nasoa_runtime.pods.training.request import Request
