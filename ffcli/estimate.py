"""How long a run will take, from the arithmetic of the protocol and what this machine measured before.

A matrix product of n x m by m x k costs 2 n m k operations. With layers w_0 -> w_1 -> ... -> w_L, B rows an hour and
U updates, layer i costs (2 U + 1) products of 2 B w_(i-1) w_i an hour (forward and weight gradient U times, and the
output once; the last layer hands nothing on, so 2 U). With a cure that replays K inputs, its 2 U products have B + K
rows. An evaluation of M images under K labels costs one product of
layer 1 and K of each deeper layer.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from itertools import pairwise

from ffcli.config import RunConfig
from ffcli.records import RunRecord

ROUGH_RATE = 3e10
"""Operations a second where this machine has measured nothing yet."""


EPOCH_SECONDS = 0.04
"""What an epoch costs beside its matrix products, as measured with layers of four units; it is nearly all of a tiny
run's time."""


def hour_operations(config: RunConfig) -> float:
    """Arithmetic of one full hour's matrix products."""
    rows = config.batch_size * (1 if config.schedule.separated else 2)
    weights = [inputs * units for inputs, units in pairwise((config.data.features, *config.hidden))]
    repeated = (rows + (config.cure.samples or 0)) * 2 * config.updates_per_batch * sum(weights)
    return 2.0 * (repeated + rows * sum(weights[:-1]))


def evaluation_operations(config: RunConfig) -> float:
    """Arithmetic of evaluating the test and the held-out images under every label."""
    first, *deeper = (inputs * units for inputs, units in pairwise((config.data.features, *config.hidden)))
    return 2.0 * (config.data.test + config.holdout) * (first + config.data.classes * sum(deeper))


def epoch_operations(config: RunConfig) -> float:
    return config.batches * hour_operations(config) + evaluation_operations(config)


def seconds_left(config: RunConfig, epochs_done: int, measured: Iterable[RunRecord]) -> tuple[float, bool]:
    """Estimated seconds for the epochs still to train, and whether runs measured on this machine say so."""
    rates = [_rate(run) for run in measured if run.seconds > 0]
    epoch = EPOCH_SECONDS + epoch_operations(config) / (statistics.median(rates) if rates else ROUGH_RATE)
    return max(0, config.epochs - epochs_done) * epoch, bool(rates)


def _rate(run: RunRecord) -> float:
    """Operations a second. Of a run that was nearly all fixed cost a tenth is taken for arithmetic."""
    arithmetic = max(run.seconds - EPOCH_SECONDS * run.epochs_done, run.seconds / 10)
    return epoch_operations(run.config) * run.epochs_done / arithmetic
