"""What the rows have in common: the network, the hour, the data, and how long a row may take."""

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
"""The paper's network and hour: batch 512, 784-500-500-500, 50 updates."""

QUICK = Settings(data="sample", hidden=(30, 20, 10), batch_size=64, updates_per_batch=2, neg="masks")
"""To see that everything works."""


@dataclass(frozen=True)
class Setting:
    """Images are those of the MNIST sample that ships, the same on every machine."""

    options: Settings
    quick: bool
    ref: DataRef
    data: TrainingTensors
    image_shape: tuple[int, int, int]
    """(C, H, W)"""
    folder: Path
    """Where data sets are kept."""
    threads: int
    seconds: float
    """For each row, about."""
    notify: Notify

    def config(self, *, precision: str = "float32", unseparated: bool = False) -> RunConfig:
        options = self.options.model_copy(update={"precision": precision, "unseparated": unseparated})
        return resolve(options, self.ref)

    @cached_property
    def awake(self) -> Labelled:
        """A batch of positive data."""
        size = self.options.batch_size
        return Labelled(self.data.images[:size], self.data.labels[:size], self.data.amplitude)

    @cached_property
    def wrong(self) -> Labelled:
        """The same images under wrong labels."""
        return self.awake._replace(labels=(self.awake.labels + 1) % self.ref.classes)

    @cached_property
    def joined(self) -> Labelled:
        """A batch of negatives with masks."""
        generator = torch.Generator().manual_seed(0)
        images, labels = self.data.negatives(self.awake.images, self.awake.labels, generator=generator)
        return Labelled(images, labels, self.data.amplitude)

    @cached_property
    def evaluated(self) -> Labelled:
        """10,000 images, as many as MNIST has for testing."""
        size = 500 if self.quick else 10_000
        return Labelled(self.data.images[:size], self.data.labels[:size], self.data.amplitude)


def make_setting(*, quick: bool, on: int | None, seconds: float, folder: Path, notify: Notify) -> Setting:
    """`on`: threads, or torch's own number of them.

    Raises BadData and StorageFull where the sample cannot be prepared in `folder`.
    """
    set_numerics()
    options = QUICK if quick else SIZE
    ref = datasets.locate("mnist", wanted="sample", folder=folder, notify=notify)
    arrays = datasets.load(ref, folder, notify)
    data = training_tensors(arrays, resolve(options, ref), CPU)
    return Setting(
        options, quick, ref, data, arrays.image_shape, folder, on or torch.get_num_threads(), seconds, notify
    )
