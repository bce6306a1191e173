"""What crosses the boundaries between engine, store, report and command line: plain frozen records."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from ffcli.choices import Status
from ffcli.config import RunConfig
from ffcli.schedule import Phase

LAST_EPOCHS = 5
"""`last5`: the mean over this many last epochs."""


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """One epoch of a run, with what explains a collapse. Accuracies in percent; None where nothing was measured."""

    epoch: int
    """0 is the untrained network."""
    hour: int
    """Hours (batches) trained when the epoch ended."""
    phase: Phase | None
    """Phase of the epoch's last hour; None before the first."""
    accuracy: float | None
    """On the test images; None in an epoch that was not evaluated."""
    validation_accuracy: float | None
    """On the held-out training images; None without any."""
    loss_positive: float | None
    """Mean over the epoch's positive hours, layers and updates; None where there was no such hour. Unseparated:
    the mean loss of the positive half."""
    loss_negative: float | None
    goodness_positive: tuple[float, ...] | None
    """By layer: mean goodness of the test images under their true label."""
    goodness_negative: tuple[float, ...] | None
    """By layer: under a fixed wrong label."""
    dead_units: tuple[float, ...] | None
    """By layer: share (0 to 1) of units with no activity on any test image under its true label."""
    seconds: float


@dataclass(frozen=True, slots=True)
class HourTrace:
    """One layer after one hour of a traced phase, seen on a fixed batch of both kinds of data (`engine.tracing`). None
    where there is no finite number."""

    hour: int
    """Hours trained: the first hour of a run ends at 1."""
    phase: int
    """Counted from 1 across the run; the odd ones are awake."""
    layer: int
    """Counted from 1."""
    goodness_positive: float | None
    goodness_negative: float | None
    drift: float | None
    """Norm of what the phase has changed of the layer's parameters so far."""
    cosine: float | None
    """Between the gradients of the positive and of the negative loss; None where one of them is 0, as in a dead
    layer."""
    dead_units: float | None
    """Share (0 to 1) of units with no activity on the positive batch."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a stretch of a run was trained."""

    from_epoch: int
    ffcli: str
    torch: str
    python: str
    device: str
    threads: int
    host: str
    revision: str | None
    """Git revision of the program, where it runs from a checkout."""


ID_DIGITS = 7
"""Hex digits that a run's id is shown with, at least."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a report over thousands of runs needs of each."""

    id: str
    key: str
    config: RunConfig
    status: Status
    tags: tuple[str, ...]
    epochs_done: int


@dataclass(frozen=True, slots=True)
class RunRecord(RunSummary):
    """One stored run (one trajectory), without its epochs."""

    name: str | None
    note: str | None
    failure: str | None
    """Why it failed or was interrupted."""
    started: datetime
    ended: datetime | None
    heartbeat: datetime | None
    best_accuracy: float | None
    """Percent, over the epochs after 0: best on the test images, or test accuracy of the epoch that the held-out
    images chose."""
    final_accuracy: float | None
    seconds: float
    """Training time over all its stretches."""
    provenance: tuple[Provenance, ...]

    @property
    def diverged(self) -> bool:
        """Whether it failed in a way that the same config always will (see `errors.Diverged`)."""
        return self.status == "failed" and (self.failure or "").startswith("diverged")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run had reached at a horizon of epochs. Accuracies in percent."""

    run: RunSummary
    horizon: int
    reached: int
    """Epochs done, at most the horizon."""
    final: float | None
    """At exactly the horizon; None where the run is shorter."""
    best: float | None
    last5: float | None
    """Mean accuracy of the epochs horizon - 4 to horizon that were evaluated."""

    @property
    def learned(self) -> bool | None:
        """Whether the best accuracy ever left chance by more than 1.5 points; None before the first epoch."""
        return None if self.best is None else self.best > self.run.config.chance + 1.5


def epoch_json(metrics: EpochMetrics) -> dict[str, Any]:
    """An epoch with the stable names of `--json`."""
    return {name: getattr(metrics, name) for name in EpochMetrics.__slots__}


def best_accuracy(epochs: list[EpochMetrics]) -> float | None:
    """Best accuracy after epoch 0, chosen on the held-out images where there are any."""
    scored = [e for e in epochs if e.epoch > 0 and e.accuracy is not None]
    if not scored:
        return None
    chosen = max(scored, key=lambda e: e.accuracy if e.validation_accuracy is None else e.validation_accuracy)  # type: ignore[arg-type,return-value]
    return chosen.accuracy


def config_json(config: RunConfig) -> dict[str, Any]:
    """A config with the stable names of `--json`: those of `ff train`'s options, and what they resolved to."""
    return {
        "dataset": config.data.name,
        "data": config.data.model_dump(mode="json"),
        "neg": config.negatives,
        "pos_phase": config.schedule.positive,
        "neg_phase": config.schedule.negative,
        "unseparated": not config.schedule.separated,
        **config.model_dump(mode="json", exclude={"data", "negatives", "schedule"}),
    }


def run_json(run: RunRecord) -> dict[str, Any]:
    """A run, without its epochs, with the stable names of `--json`. Accuracies in percent."""
    return {
        "id": run.id,
        "key": run.key,
        "status": run.status,
        "name": run.name,
        "tags": list(run.tags),
        "note": run.note,
        "config": config_json(run.config),
        "epochs_done": run.epochs_done,
        "best_accuracy": run.best_accuracy,
        "final_accuracy": run.final_accuracy,
        "seconds": run.seconds,
        "started": run.started.isoformat(),
        "ended": run.ended.isoformat() if run.ended else None,
        "failure": run.failure,
        "provenance": [asdict(stretch) for stretch in run.provenance],
    }
