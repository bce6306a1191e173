"""Frozen records that engine, store, report and command line exchange, and their JSON forms."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ffcli.choices import FailureKind, Status
from ffcli.config import RunConfig
from ffcli.schedule import Phase

if TYPE_CHECKING:
    from numpy.typing import NDArray

LAST_EPOCHS = 5
"""Number of epochs whose mean accuracy is `last5`."""

ID_DIGITS = 7
"""Number of digits of a run's id that are shown, unless more are needed to tell runs apart."""


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """Measurements of one epoch. Accuracies are in percent; None means not measured."""

    epoch: int
    """0 is the untrained network."""
    hour: int
    """Hours trained since the beginning of the run."""
    phase: Phase | None
    """Phase of the epoch's last hour; None before the first."""
    accuracy: float | None
    """On the test images; None if the epoch was not evaluated."""
    validation_accuracy: float | None
    """On the held-out training images; None if there are none."""
    loss_positive: float | None
    """Mean over the epoch's positive hours, layers and updates; None if there was no positive hour. In an unseparated
    run, the mean over the positive half of every batch."""
    loss_negative: float | None
    """The same for the negative hours."""
    goodness_positive: tuple[float, ...] | None
    """By layer: mean goodness of the test images with their true label."""
    goodness_negative: tuple[float, ...] | None
    """By layer: mean goodness of the test images with a fixed wrong label."""
    dead_units: tuple[float, ...] | None
    """By layer: share (0 to 1) of the units that are 0 on every test image with its true label."""
    seconds: float


@dataclass(frozen=True, slots=True)
class HourTrace:
    """Measurements of one layer after one hour of a traced phase, on a fixed batch (see `engine.tracing`).

    None means that the value is not finite.
    """

    hour: int
    """Hours trained since the beginning of the run: 1 after the first hour."""
    phase: int
    """Counted from 1 across the run; odd phases are positive."""
    layer: int
    """Counted from 1."""
    goodness_positive: float | None
    goodness_negative: float | None
    drift: float | None
    """Euclidean norm of the change of the layer's parameters since the phase began."""
    cosine: float | None
    """Cosine of the angle between the gradients of the positive and the negative loss; None if one of them is 0, as in
    a dead layer."""
    dead_units: float | None
    """Share (0 to 1) of the units that are 0 on the whole positive batch."""


@dataclass(frozen=True, slots=True, eq=False)
class GoodnessSamples:
    """Goodness of each test image in each layer of a network (layers, N)."""

    true: NDArray[Any]
    """With the true label."""
    wrong: NDArray[Any]
    """With the best wrong label: the one that the network would predict if the true label did not exist."""
    negatives: NDArray[Any]
    """Of the negatives that the run's strategy makes of the test images."""
    accuracy: float
    """On the test images, in percent."""


@dataclass(frozen=True, slots=True, eq=False)
class NegativeSteps:
    """How a strategy makes negatives of a few training images. Pictures are (N, H, W, C), from 0 to 1."""

    description: str
    """Dataset, strategy and seed in words."""
    positive: NDArray[Any]
    """The images with their true label."""
    steps: dict[str, NDArray[Any]]
    """Pictures between positive and negative, by name; empty if the strategy has none."""
    negative: NDArray[Any]
    """The negatives with their label."""
    labels: NDArray[Any]
    """(N,)"""
    negative_labels: NDArray[Any]
    """(N,)"""
    classes: int
    """Number of label features K in the overlay."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where and with what a stretch of a run was trained."""

    from_epoch: int
    ffcli: str
    torch: str
    python: str
    device: str
    threads: int
    host: str
    revision: str | None
    """Git revision of the program; None if it does not run from a checkout."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The part of a run that a report over thousands of runs needs."""

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
    """Why it failed or was interrupted, as one line."""
    failure_kind: FailureKind | None
    """None unless it failed."""
    started: datetime
    ended: datetime | None
    heartbeat: datetime | None
    best_accuracy: float | None
    """In percent, over the epochs after 0: see `best_accuracy`."""
    final_accuracy: float | None
    """In percent, at the last epoch; None if it was not evaluated."""
    seconds: float
    """Training time of all stretches."""
    provenance: tuple[Provenance, ...]

    @property
    def diverged(self) -> bool:
        """Whether it failed because a number became infinite or NaN, which the same config always does."""
        return self.status == "failed" and self.failure_kind == "diverged"


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the epochs of a run took, for estimates."""

    config: RunConfig
    epochs: int
    evaluations: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run had reached at a horizon. Accuracies are in percent; None means not measured."""

    run: RunSummary
    horizon: int
    """Number of epochs at which the run is read."""
    reached: int
    """Epochs done, at most the horizon."""
    final: float | None
    """At the horizon; None if the run is shorter."""
    best: float | None
    """Up to the horizon: see `best_accuracy`."""
    last5: float | None
    """Mean over the evaluated epochs from horizon - 4 to horizon."""

    @property
    def learned(self) -> bool | None:
        """Whether the best accuracy is more than 1.5 points above chance; None before the first epoch."""
        return None if self.best is None else self.best > self.run.config.chance + 1.5


def epoch_json(metrics: EpochMetrics) -> dict[str, Any]:
    """Return an epoch with the stable names of `--json`."""
    return {name: getattr(metrics, name) for name in EpochMetrics.__slots__}


def best_accuracy(epochs: list[EpochMetrics]) -> float | None:
    """Return the best test accuracy after epoch 0, in percent; None if no such epoch was evaluated.

    With held-out images, it is the test accuracy of the epoch with the best accuracy on them.
    """
    scored = [e for e in epochs if e.epoch > 0 and e.accuracy is not None]
    if not scored:
        return None
    chosen = max(scored, key=lambda e: e.accuracy if e.validation_accuracy is None else e.validation_accuracy)  # type: ignore[arg-type,return-value]
    return chosen.accuracy


def config_json(config: RunConfig) -> dict[str, Any]:
    """Return a config with the stable names of `--json`: option names and resolved values."""
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
    """Return a run without its epochs, with the stable names of `--json`. Accuracies are in percent."""
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
        "failure_kind": run.failure_kind,
        "provenance": [asdict(stretch) for stretch in run.provenance],
    }
