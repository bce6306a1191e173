"""Look into a trained network and into negatives, on the CPU. Imports torch; trains nothing and writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ffcli.config import RunConfig
from ffcli.data import datasets
from ffcli.data.negatives import STRATEGIES
from ffcli.data.tensors import pixels, training_pool, training_tensors
from ffcli.engine.goodness_samples import goodness_samples
from ffcli.engine.labels import Labelled, overlay
from ffcli.engine.training import first_batch, stream, trained_network
from ffcli.machine import set_numerics
from ffcli.records import GoodnessSamples, NegativeSteps

CPU = torch.device("cpu")


def goodness_of(config: RunConfig, weights: Mapping[str, NDArray[Any]], data_folder: Path) -> GoodnessSamples:
    """Return the goodness of the test images in a trained network.

    Args:
        config: the run.
        weights: its weights by name.
        data_folder: where prepared datasets are.

    Raises:
        BadData, StorageFull: if the dataset cannot be read or prepared.
    """
    set_numerics()
    config = _on_the_cpu(config)
    network = trained_network(config, weights, CPU)
    data = training_tensors(datasets.load(config.data, data_folder), config, CPU)
    test = Labelled(data.test_images, data.test_labels, data.amplitude)
    drawing = stream(config.seed, "test negatives", 0, CPU)
    negative = Labelled(*data.negatives(test.images, test.labels, generator=drawing), data.amplitude)
    return goodness_samples(network, test, negative)


def negative_steps(config: RunConfig, data_folder: Path, *, count: int) -> NegativeSteps:
    """Return how the negatives of a run's first batch are made.

    Args:
        config: the run.
        data_folder: where prepared datasets are.
        count: number of images.

    Raises:
        BadData, StorageFull: if the dataset cannot be read or prepared.
    """
    set_numerics()
    config = _on_the_cpu(config)
    arrays = datasets.load(config.data, data_folder)
    data = training_tensors(arrays, config, CPU)
    pool, strategy = training_pool(data.images, arrays, config), STRATEGIES[config.negatives]
    positive = first_batch(config, data)

    def drawing() -> torch.Generator:
        return stream(config.seed, "negatives", 1, CPU)

    negative = Labelled(*strategy.draw(positive.images, positive.labels, pool, drawing()), data.amplitude)
    steps = strategy.steps(positive.images, positive.labels, pool, drawing()) if strategy.steps else {}

    def picture(images: Tensor) -> NDArray[Any]:
        return pixels(images[:count], arrays)

    def with_label(shown: Labelled) -> Tensor:
        return overlay(shown, classes=config.data.classes, out=torch.empty_like(shown.images))

    return NegativeSteps(
        f"{config.data.label}, {config.negatives} negatives, seed {config.seed}",
        picture(with_label(positive)),
        {name: picture(images) for name, images in steps.items()},
        picture(with_label(negative)),
        positive.labels[:count].numpy(),
        negative.labels[:count].numpy(),
        config.data.classes,
    )


def _on_the_cpu(config: RunConfig) -> RunConfig:
    """The run with a precision that the CPU has: TF32 numbers are stored as float32."""
    return config.model_copy(update={"precision": "float32"}) if config.precision == "tf32" else config
