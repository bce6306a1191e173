"""What all rows of the benchmark share: network, hour, data and time per row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from ffcli.config import DataRef, RunConfig
from ffcli.data import datasets
from ffcli.data.sources import Notify
from ffcli.data.tensors import TrainingTensors, training_tensors
from ffcli.engine.labels import Labelled
from ffcli.machine import set_numerics
from ffcli.planning import resolve
from ffcli.settings import Settings

CPU = torch.device("cpu")

SIZE = Settings(data="sample", preset="paper", neg="masks")
"""The network and the hour of the paper: batch 512, 784-500-500-500, 50 updates."""

QUICK = Settings(data="sample", hidden=(30, 20, 10), batch_size=64, updates_per_batch=2, neg="masks")
"""A tiny network, to see that everything works."""


@dataclass(frozen=True)
class Setting:
    """Settings of a benchmark. Its images are those of the bundled MNIST sample, the same on every machine."""

    options: Settings
    quick: bool
    ref: DataRef
    data: TrainingTensors
    image_shape: tuple[int, int, int]
    """(C, H, W)"""
    folder: Path
    """Where datasets are kept."""
    threads: int
    """Threads of rows that do not set their own number."""
    seconds: float
    """Approximate time for each row."""
    notify: Notify

    def config(self, *, precision: str = "float32", unseparated: bool = False) -> RunConfig:
        """Return the settings of a run in this precision, with or without separated phases."""
        options = self.options.model_copy(update={"precision": precision, "unseparated": unseparated})
        return resolve(options, self.ref)

    @cached_property
    def positive(self) -> Labelled:
        """One batch of positive data."""
        size = self.options.batch_size
        return Labelled(self.data.images[:size], self.data.labels[:size], self.data.amplitude)

    @cached_property
    def wrong_labels(self) -> Labelled:
        """One batch of negative data: the images of `positive` with wrong labels."""
        return self.positive._replace(labels=(self.positive.labels + 1) % self.ref.classes)

    @cached_property
    def masks(self) -> Labelled:
        """One batch of negative data: images joined by masks."""
        generator = torch.Generator().manual_seed(0)
        images, labels = self.data.negatives(self.positive.images, self.positive.labels, generator=generator)
        return Labelled(images, labels, self.data.amplitude)

    @cached_property
    def evaluated(self) -> Labelled:
        """10,000 images to evaluate, as many as the test set of MNIST has."""
        size = 500 if self.quick else 10_000
        return Labelled(self.data.images[:size], self.data.labels[:size], self.data.amplitude)


def make_setting(*, quick: bool, on: int | None, seconds: float, folder: Path, notify: Notify) -> Setting:
    """Load the sample and return the settings. Arguments and errors are those of `run.benchmark`, but `seconds` is the
    time for each row.
    """
    set_numerics()
    options = QUICK if quick else SIZE
    ref = datasets.locate("mnist", wanted="sample", folder=folder, notify=notify)
    arrays = datasets.load(ref, folder, notify)
    data = training_tensors(arrays, resolve(options, ref), CPU)
    return Setting(
        options, quick, ref, data, arrays.image_shape, folder, on or torch.get_num_threads(), seconds, notify
    )
