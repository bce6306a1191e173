"""Load the trained network of a stored run, and classify images with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcli.data import datasets
from ffcli.engine.objectives import OBJECTIVES
from ffcli.records import ID_DIGITS, RunRecord
from ffcli.running.recording import stored_weights
from ffcli.store.database import Store

if TYPE_CHECKING:
    from ffcli.engine.classifier import Classifier

BATCH = 1000
"""Images that are classified at a time, as in the evaluations of training."""


class Prediction(NamedTuple):
    """What a network finds in N images."""

    labels: NDArray[np.int64]
    """(N,)"""
    goodness: NDArray[np.floating]
    """Of each layer under each label (N, layers, K)."""


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """The trained network of a run, and what it knows of its data."""

    run: RunRecord
    epoch: int
    """The epoch after which the weights were saved."""
    network: Classifier
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_shape: tuple[int, int, int]
    """(C, H, W)"""
    border: float
    """Mean pixel (0 to 255) on the border of training images."""
    test_images: NDArray[np.uint8]
    """(M, F)"""
    test_labels: NDArray[np.int64]
    """(M,)"""

    @property
    def title(self) -> str:
        return f"run {self.run.id[:ID_DIGITS]}"


def load_trained(store: Store, run: RunRecord, data_folder: Path) -> Trained:
    """Return the network of a run with its last saved weights, on the CPU.

    Args:
        store: the database that the run is in.
        run: the run.
        data_folder: where the run's dataset is, whose normalisation the network needs.

    Raises:
        BadOption: if no weights are stored.
        DamagedState: if their file is damaged.
        BadData, DownloadFailed, StorageFull: if the dataset cannot be read.
    """
    import torch

    from ffcli.data.tensors import amplitude_of
    from ffcli.engine.classifier import Classifier

    config = run.config
    named, epoch = stored_weights(store, run)
    arrays = datasets.load(config.data, data_folder)
    tensors = [
        (torch.from_numpy(named[f"layers.{n}.weight"]), torch.from_numpy(named[f"layers.{n}.bias"]))
        for n in range(len(config.hidden))
    ]
    network = Classifier(
        tensors,
        classes=config.data.classes,
        mean=arrays.mean,
        std=arrays.std,
        amplitude=amplitude_of(arrays, tensors[0][0].dtype),
        objective=OBJECTIVES[config.objective],
        products=torch.bfloat16 if config.precision == "bf16" else None,
    )
    images = arrays.train_images[:BATCH].reshape(-1, *arrays.image_shape)
    return Trained(
        run, epoch, network.eval(), arrays.mean, arrays.std, arrays.image_shape, border_of(images), arrays.test_images,
        arrays.test_labels,
    )  # fmt: skip


def classify(network: Classifier, images: NDArray[np.uint8]) -> Prediction:
    """Classify images (N, C, H, W) on the device of the network."""
    import torch

    device = next(network.parameters()).device
    found = []
    with torch.no_grad():
        # At least one batch, so that no images give arrays of the right shapes.
        for start in range(0, max(len(images), 1), BATCH):
            labels, goodness = network(torch.tensor(images[start : start + BATCH], device=device))
            found.append((labels.cpu().numpy(), goodness.cpu().numpy()))
    labels, goodness = zip(*found, strict=True)
    return Prediction(np.concatenate(labels), np.concatenate(goodness))


def undecided(goodness: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which images (N,) have the same goodness (N, layers, K) under every label, as in a dead network."""
    same: NDArray[np.bool_] = (goodness == goodness[:, :, :1]).all(axis=(1, 2))
    return same


def border_of(images: NDArray[np.uint8]) -> float:
    """Return the mean pixel on the border of images (N, C, H, W)."""
    inner = np.zeros(images.shape[2:], bool)
    inner[1:-1, 1:-1] = True
    return float(images[:, :, ~inner].mean())
