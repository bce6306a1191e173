"""Random images to train on, and helpers that the tests of the engine share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ffcli.config import DataRef, Device, RunConfig
from ffcli.data.datasets import Arrays
from ffcli.data.negatives import wrong_labels
from ffcli.engine.training import TrainingState, state_arrays
from ffcli.planning import resolve
from ffcli.settings import Settings

CLASSES, FEATURES, ROWS, BATCH = 3, 12, 50, 8


@dataclass(frozen=True)
class Data:
    """A dataset of random images, as `ffcli.engine.training.TrainingData` defines it."""

    images: Tensor
    labels: Tensor
    amplitude: float = 2.5
    full_batches: bool = False

    @property
    def test_images(self) -> Tensor:
        return self.images

    @property
    def test_labels(self) -> Tensor:
        return self.labels

    @property
    def validation_images(self) -> Tensor:
        return self.images[:0]

    @property
    def validation_labels(self) -> Tensor:
        return self.labels[:0]

    @staticmethod
    def negatives(images: Tensor, labels: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return images, wrong_labels(labels, CLASSES, generator=generator)


def random_data(dtype: torch.dtype = torch.float64) -> Data:
    random = torch.Generator().manual_seed(1)
    images = torch.randn(ROWS, FEATURES, generator=random, dtype=torch.float64)
    return Data(images.to(dtype), torch.randint(0, CLASSES, (ROWS,), generator=random))


def make_config(*, device: Device = "cpu", **options: Any) -> RunConfig:
    ref = DataRef(
        name="random", source="file", fingerprint="f", features=FEATURES, classes=CLASSES, train=ROWS, test=ROWS,
        largest_class=40.0,
    )  # fmt: skip
    asked = {"pos_phase": 5, "neg_phase": 3, "epochs": 3, "hidden": (9, 6), "batch_size": BATCH, "precision": "float64"}
    return resolve(Settings.model_validate(asked | options), ref, device=device)


def random_arrays(images: int) -> Arrays:
    """Return a dataset of images of 3 x 4 pixels as it is loaded from disk."""
    pixels = np.random.default_rng(0).integers(0, 256, (images, FEATURES), dtype=np.uint8)
    labels = np.arange(images) % CLASSES
    return Arrays(pixels, labels, pixels[:8], labels[:8], (0.5,), (0.25,), (1, 3, 4))


def bits(state: TrainingState) -> dict[str, bytes]:
    """Return everything that a saved state contains, to be compared bit by bit."""
    return {name: array.tobytes() for name, array in state_arrays(state).items()}
