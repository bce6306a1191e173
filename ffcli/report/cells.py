"""From runs to the cells of one protocol: the mean over the seeds of the runs that got as far as the table's horizon.

Shorter runs are named, never counted. A run that never left chance has not learned: its number is kept beside that
fact.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from ffcli.choices import Metric
from ffcli.config import RunConfig
from ffcli.records import Outcome
from ffcli.report.protocol import Protocol
from ffcli.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Measured:
    """What the runs of one cell gave. Accuracies in percent; None where there is no number."""

    runs: int = 0
    """Runs counted: those that got as far as the table's horizon."""
    mean: float | None = None
    std: float | None = None
    """Sample deviation over the seeds; None for fewer than two runs."""
    learned: bool | None = None
    """Whether any of the runs ever left chance; None without runs."""
    seeds: tuple[int, ...] = ()
    short: str | None = None
    """Where no run is counted, how far the longest has got: `7/20 ep`, or `failed`."""
    running: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """One schedule of one row: measured, and as the paper printed it."""

    schedule: Schedule
    measured: Measured
    published: float | None
    published_learned: bool | None
    """False is the paper's "-"; None where the paper has no such cell."""

    @property
    def difference(self) -> float | None:
        """Measured less published, in points."""
        mean = self.measured.mean
        return None if mean is None or self.published is None else mean - self.published


@dataclass(frozen=True, slots=True)
class Row:
    """One data set under one kind of negatives."""

    dataset: str
    """Its name; with a short fingerprint where the table has another data set of that name."""
    negatives: str
    fingerprint: str | None
    """None where nothing was measured."""
    source: str
    """What `ff train --dataset` takes: the name, or a path."""
    cells: tuple[Cell, ...]


class Place(NamedTuple):
    dataset: str
    fingerprint: str
    negatives: str
    schedule: tuple[int, int]


def place_of(config: RunConfig) -> Place:
    data, schedule = config.data, config.schedule
    return Place(data.name, data.fingerprint, config.negatives, (schedule.positive, schedule.negative))


def admitted_runs(protocol: Protocol, outcomes: Iterable[Outcome]) -> dict[Place, dict[str, Outcome]]:
    """The protocol's runs by their place and key."""
    places: dict[Place, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        if protocol.fits(outcome.run.config):
            places[place_of(outcome.run.config)].append(outcome)
    return {place: by_key(runs) for place, runs in places.items()}


def by_key(outcomes: Iterable[Outcome]) -> dict[str, Outcome]:
    """Runs by their key; of several under one (one failed, say) the one that got on."""
    runs: dict[str, Outcome] = {}
    for outcome in outcomes:
        rival = runs.get(outcome.run.key)
        if rival is None or rival.reached <= outcome.reached:
            runs[outcome.run.key] = outcome
    return runs


def reduce_runs(outcomes: Collection[Outcome], metric: Metric, epochs: int) -> Measured:
    counted = [(o, value) for o in outcomes if o.reached >= epochs and (value := getattr(o, metric)) is not None]
    running = any(o.run.status == "running" for o in outcomes)
    if not counted:
        return Measured(short=_progress(outcomes, epochs), running=running)
    values = [value for _, value in counted]
    mean = fmean(values)
    return Measured(
        runs=len(values),
        mean=mean,
        std=math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1)) if len(values) > 1 else None,
        learned=any(o.learned for o, _ in counted),
        seeds=tuple(o.run.config.seed for o, _ in counted),
        running=running,
    )


def _progress(outcomes: Collection[Outcome], epochs: int) -> str:
    longest = max(outcomes, key=lambda o: o.reached)
    if longest.run.status == "failed":
        return "failed"
    return f"{longest.reached}/{epochs} ep" if longest.reached < epochs else "not evaluated"
