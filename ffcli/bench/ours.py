"""The engine as a run uses it: what each row measures. The same names in `ffcli.bench.plain` are its baselines.

A contestant is a function without arguments; each call does the same amount of work once more. What it returns is for
tests, which compare both sides.
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
from ffcli.engine.training import initial_state
from ffcli.schedule import phase_of


def hours(config: RunConfig, awake: Labelled, asleep: Labelled) -> Contestant:
    """One more hour of a run's schedule with each call, of the same data."""
    state = initial_state(config, CPU)

    def hour() -> torch.Tensor:
        phase = phase_of(config.schedule, state.hour)
        losses = train_hour(
            state.network,
            awake if phase != "negative" else None,
            asleep if phase != "positive" else None,
            phase=phase,
            lr=config.learning_rate(phase, state.hour),
            threshold=config.threshold,
            updates=config.updates_per_batch,
        )
        state.hour += 1
        return losses

    return hour


def evaluation(config: RunConfig, data: Labelled, wrong: torch.Tensor) -> Contestant:
    """What an epoch ends with: accuracy over all labels, goodness and dead units."""
    network = initial_state(config, CPU).network
    return lambda: float(evaluate(network, data, wrong).accuracy)


def masks(negatives: Negatives, batch: Labelled) -> Contestant:
    """Negatives for one batch."""
    generator = torch.Generator().manual_seed(0)
    return lambda: negatives(batch.images, batch.labels, generator=generator)


def first_update(config: RunConfig, ref: DataRef, folder: Path) -> Contestant:
    """From the data set on disk to the end of the first update, on a shuffled batch."""

    def start() -> None:
        data = training_tensors(datasets.load(ref, folder), config, CPU)
        batch = torch.randperm(len(data.images))[: config.batch_size]
        awake = Labelled(data.images[batch], data.labels[batch], data.amplitude)
        hours(config, awake, awake)()

    return start
