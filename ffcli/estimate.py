"""Estimate the time and the memory that a run needs, from the arithmetic of the protocol.

A matrix product of n x m by m x k takes 2 n m k operations. With layers of w_0, w_1, ..., w_L units, B rows per hour
and U updates per batch, layer i takes 2 U + 1 products of 2 B w_(i-1) w_i operations per hour: U forward, U for the
weight gradient, and one for the output, which the last layer does not need. With a cure that replays K inputs, the
2 U products have B + K rows. An evaluation of M images with C labels takes one product of layer 1 and C products of
each deeper layer.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise

from ffcli.config import RunConfig
from ffcli.records import Timing

ROUGH_RATE = 3e10
"""Operations per second, if no run was measured on this machine yet."""

NEWEST = 4
"""Number of stored runs from which the speed of this machine is taken."""

EPOCH_SECONDS = 0.04
"""Time of an epoch without its matrix products, measured with layers of four units."""


def hour_operations(config: RunConfig) -> float:
    """Return the number of operations of one full hour's matrix products."""
    rows = config.batch_size * (1 if config.schedule.separated else 2)
    weights = [inputs * units for inputs, units in pairwise((config.data.features, *config.hidden))]
    repeated = (rows + (config.cure.samples or 0)) * 2 * config.updates_per_batch * sum(weights)
    return 2.0 * (repeated + rows * sum(weights[:-1]))


def evaluation_operations(config: RunConfig) -> float:
    """Return the number of operations of an evaluation: test and held-out images with every label."""
    first, *deeper = (inputs * units for inputs, units in pairwise((config.data.features, *config.hidden)))
    return 2.0 * (config.data.test + config.holdout) * (first + config.data.classes * sum(deeper))


def training_operations(config: RunConfig) -> float:
    """Return the number of operations of an epoch without an evaluation."""
    return config.batches * hour_operations(config)


def operations_left(config: RunConfig, epochs_done: int = 0, *, eval_every: int = 1) -> float:
    """Return the number of operations of the remaining epochs, with their evaluations."""
    epochs = max(0, config.epochs - epochs_done)
    evaluations = config.epochs // eval_every - min(config.epochs, epochs_done) // eval_every
    return epochs * training_operations(config) + evaluations * evaluation_operations(config)


def seconds_left(
    config: RunConfig, epochs_done: int, timings: Sequence[Timing], *, eval_every: int = 1
) -> tuple[float, bool]:
    """Estimate the time of the remaining epochs.

    Args:
        config: the run.
        epochs_done: number of epochs that are trained already.
        timings: runs of this machine, the newest first. Its speed is taken from the newest of those that are most like
            this one, because a machine may be busier at one time than at another.
        eval_every: evaluate the epochs that this number divides.

    Returns:
        Seconds, and whether the speed was measured.
    """
    rates = [_rate(timing) for timing in _most_alike(config, timings)[:NEWEST]]
    products = operations_left(config, epochs_done, eval_every=eval_every) / (
        statistics.median(rates) if rates else ROUGH_RATE
    )
    return products + max(0, config.epochs - epochs_done) * EPOCH_SECONDS, bool(rates)


LIKENESS = ("device", "precision", "cure", "updates_per_batch", "hidden", "batch_size", "negatives")
"""Settings on which the operations per second depend, the most important first."""


def _most_alike(config: RunConfig, timings: Sequence[Timing]) -> Sequence[Timing]:
    """Timings that agree with `config` in as many of the settings of LIKENESS as any, counted from the first."""
    for name in LIKENESS:
        alike = [timing for timing in timings if getattr(timing.config, name) == getattr(config, name)]
        timings = alike or timings
    return timings


def memory_bytes(config: RunConfig) -> int:
    """Return a lower bound of the memory that training on the CPU needs, in bytes.

    Counts the images, and per parameter its value, its gradient, and two moments for each phase; a joint phase has one
    state, separated phases two. Counts the activities of one batch. Cures and temporary values are not counted.
    """
    number = 8 if config.precision == "float64" else 4
    widths = (config.data.features, *config.hidden)
    parameters = sum((inputs + 1) * units for inputs, units in pairwise(widths))
    states = 2 if config.schedule.separated else 1
    images = (config.data.train + config.data.test) * config.data.features
    activities = config.batch_size * sum(widths)
    return number * (parameters * (2 + 2 * states) + images + activities)


def _rate(timing: Timing) -> float:
    """Operations per second of stored epochs; at least a tenth of their time counts as matrix products."""
    arithmetic = max(timing.seconds - EPOCH_SECONDS * timing.epochs, timing.seconds / 10)
    trained = timing.epochs * training_operations(timing.config)
    return (trained + timing.evaluations * evaluation_operations(timing.config)) / arithmetic
