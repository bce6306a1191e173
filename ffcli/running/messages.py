"""What a sweep and its workers tell each other. Dask carries it.

sweep -> worker   Task, with a saved state and, if the worker has none, the dataset
worker -> sweep   Began and EpochDone at once, as events; Part, Failed, NoData or Gone as the result of the task
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from pydantic import TypeAdapter

from ffcli.choices import FailureKind
from ffcli.config import RunConfig
from ffcli.records import EpochMetrics, Provenance

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Assignment:
    """A run that a worker is to train to its last epoch."""

    config: RunConfig
    device: str
    """As torch names it."""
    eval_every: int = 1
    threads: int | None = 1


@dataclass(frozen=True, slots=True)
class Task:
    """A part of an assignment: train for `seconds`, then to the end of the epoch."""

    assignment: Assignment
    stretch: str
    """Identifies the attempt: the parts of an attempt continue each other in one process."""
    process: str
    """The process that is to train it (see `handshake.PROCESS`)."""
    number: int
    """Counted from 0 within the stretch; only part 0 receives a saved state."""
    seconds: float
    topic: str
    """Of the events."""


@dataclass(frozen=True, slots=True)
class Began:
    """A worker has loaded the data and the state."""

    provenance: Provenance
    notice: str | None = None
    """Why the run begins at epoch 0 although there is a saved state."""


@dataclass(frozen=True, slots=True)
class EpochDone:
    """An epoch ended."""

    metrics: EpochMetrics


@dataclass(frozen=True, slots=True)
class Part:
    """A part ended. `arrays` is the state after its last epoch."""

    began: Began
    epochs: tuple[EpochMetrics, ...]
    arrays: Arrays
    epoch: int
    """The epoch after which the state was taken."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Training raised an error."""

    reason: str
    kind: FailureKind


@dataclass(frozen=True, slots=True)
class NoData:
    """The worker neither has the dataset nor could it get it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The process no longer has the state that the part was to continue from: another sweep used it."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker of a run is gone; what it trained after the last saved state is trained again."""

    reason: str


Result = Part | Failed | NoData | Gone

BEGAN, METRICS = TypeAdapter(Began), TypeAdapter(EpochMetrics)
"""Convert between these messages and the plain values of an event."""
