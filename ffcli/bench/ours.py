"""The engine's side of each row: the code that a run uses. `ffcli.bench.plain` has the baselines under the same names.

Each function returns a contestant. What a contestant returns is only used by tests, which compare both sides.
"""

from __future__ import annotations

from pathlib import Path

import torch

from ffcli.bench.measuring import Contestant
from ffcli.bench.setting import CPU
from ffcli.config import DataRef, RunConfig
from ffcli.data import datasets
from ffcli.data.tensors import Negatives, training_tensors
from ffcli.engine.labels import Labelled
from ffcli.engine.network import evaluate, train_hour
from ffcli.engine.training import hour_settings, initial_state


def hours(config: RunConfig, positive: Labelled, negative: Labelled) -> Contestant:
    """Train the next hour of the schedule with each call, always on the same data."""
    state = initial_state(config, CPU)

    def hour() -> torch.Tensor:
        losses = train_hour(state.network, hour_settings(config, state.hour), positive, negative)
        state.hour += 1
        return losses

    return hour


def evaluation(config: RunConfig, data: Labelled, wrong: torch.Tensor) -> Contestant:
    """Evaluate images as at the end of an epoch: accuracy, goodness and dead units."""
    network = initial_state(config, CPU).network
    return lambda: float(evaluate(network, data, wrong).accuracy)


def masks(negatives: Negatives, batch: Labelled) -> Contestant:
    """Make the negatives of one batch."""
    generator = torch.Generator().manual_seed(0)
    return lambda: negatives(batch.images, batch.labels, generator=generator)


def first_update(config: RunConfig, ref: DataRef, folder: Path) -> Contestant:
    """Load a dataset from disk and train one hour on a shuffled batch."""

    def start() -> None:
        data = training_tensors(datasets.load(ref, folder), config, CPU)
        batch = torch.randperm(len(data.images))[: config.batch_size]
        positive = Labelled(data.images[batch], data.labels[batch], data.amplitude)
        hours(config, positive, positive)()

    return start
