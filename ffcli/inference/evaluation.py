"""Evaluate a trained network on a test set: overall, by class and by layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcli.choices import DataChoice
from ffcli.data import datasets
from ffcli.errors import BadData
from ffcli.inference.trained import Trained, classify, undecided


@dataclass(frozen=True, slots=True)
class LayerScore:
    """What one layer contributes. Accuracies are in percent."""

    layer: int
    """Counted from 1."""
    alone: float
    """Accuracy if this layer's goodness alone chooses the label."""
    cumulated: float
    """Accuracy if the goodness summed over this layer and those below chooses it."""
    goodness_true: float
    """Mean goodness under the true label."""
    goodness_wrong: float
    """Mean goodness under the wrong label that this layer finds most likely."""


@dataclass(frozen=True, slots=True)
class ClassScore:
    """How the images of one class are classified."""

    label: int
    images: int
    accuracy: float | None
    """In percent; None if there are no images of the class."""
    mistaken_for: int | None
    """The most frequent wrong label; None if there is none."""


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """How a network classifies a test set."""

    dataset: str
    images: int
    accuracy: float
    """In percent."""
    undecided: int
    """Images with the same goodness under every label, as in a dead network; they count as label 0."""
    layers: tuple[LayerScore, ...]
    confusion: NDArray[np.int64]
    """Number of images by true and by predicted label (K, K)."""

    @property
    def classes(self) -> list[ClassScore]:
        return [_class_score(label, row) for label, row in enumerate(self.confusion)]


def evaluate(
    trained: Trained, *, dataset: str | None, wanted: DataChoice, data_folder: Path, notify: Any
) -> Evaluation:
    """Evaluate a network on the test images of a dataset.

    Args:
        trained: the network.
        dataset: name of a dataset or path of an .npz file; None for the data that the run was trained on.
        wanted: whether to use the full dataset or the sample, as in `datasets.locate`.
        data_folder: where datasets are.
        notify: called with messages of one line.

    Raises:
        BadData: if the dataset is missing, or its images or labels do not fit the network.
        DownloadFailed, StorageFull: as in `datasets.locate`.
    """
    name, images, labels = trained.run.config.data.label, trained.test_images, trained.test_labels
    if dataset is not None:
        ref = datasets.locate(dataset, wanted=wanted, folder=data_folder, notify=notify)
        arrays = datasets.load(ref, data_folder, notify)
        _check_fits(trained, ref.label, arrays.image_shape, ref.classes)
        name, images, labels = ref.label, arrays.test_images, arrays.test_labels
    found, goodness = classify(trained.network, images.reshape(len(images), *trained.image_shape))
    classes = trained.run.config.data.classes
    confusion = np.bincount(labels * classes + found, minlength=classes**2).reshape(classes, classes)
    accuracy = _percent(found == labels)
    return Evaluation(
        dataset=name,
        images=len(labels),
        accuracy=accuracy,
        undecided=int(undecided(goodness).sum()),
        layers=_layer_scores(trained, goodness, labels, accuracy),
        confusion=confusion,
    )


def _check_fits(trained: Trained, name: str, shape: tuple[int, int, int], classes: int) -> None:
    known = trained.run.config.data.classes
    if shape != trained.image_shape:
        found, takes = (" x ".join(map(str, each)) for each in (shape, trained.image_shape))
        raise BadData(f"{name} has images of {found} (channels x height x width), {trained.title} takes {takes}")
    if classes > known:
        raise BadData(f"{name} has {classes} classes, {trained.title} knows {known}")


def _layer_scores(
    trained: Trained, goodness: NDArray[np.floating], labels: NDArray[np.int64], accuracy: float
) -> tuple[LayerScore, ...]:
    likely = goodness * trained.network.objective.polarity  # (N, layers, K)
    summed = likely.cumsum(axis=1)
    rows = np.arange(len(labels))
    wrong = likely.copy()
    wrong[rows, :, labels] = -np.inf
    likeliest = wrong.argmax(axis=2)[..., np.newaxis]
    last = goodness.shape[1] - 1
    return tuple(
        LayerScore(
            layer=layer + 1,
            alone=_percent(likely[:, layer].argmax(axis=1) == labels),
            # All layers together are the network, whose sum may be rounded differently.
            cumulated=accuracy if layer == last else _percent(summed[:, layer].argmax(axis=1) == labels),
            goodness_true=float(goodness[rows, layer, labels].mean(dtype=np.float64)),
            goodness_wrong=float(np.take_along_axis(goodness, likeliest, 2)[:, layer].mean(dtype=np.float64)),
        )
        for layer in range(last + 1)
    )


def _class_score(label: int, row: NDArray[np.int64]) -> ClassScore:
    images, others = int(row.sum()), row.copy()
    others[label] = 0
    return ClassScore(
        label=label,
        images=images,
        accuracy=100 * int(row[label]) / images if images else None,
        mistaken_for=int(others.argmax()) if others.any() else None,
    )


def _percent(correct: NDArray[np.bool_]) -> float:
    return int(correct.sum()) * 100 / len(correct)
