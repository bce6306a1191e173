"""The life of one run: look up, claim, train, record and save each epoch, finish.

torch is imported only if the run must be trained; a stored result costs a database look-up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ffcli.choices import KeepState
from ffcli.config import RunConfig
from ffcli.errors import Diverged, RunStored
from ffcli.records import ID_DIGITS, EpochMetrics, RunRecord, best_accuracy
from ffcli.running.recording import (
    Recording,
    finish,
    heartbeats,
    notify_untraced,
    record_epoch,
    recorded_errors,
    saved_arrays,
)
from ffcli.store import claims, runs
from ffcli.store.database import Store
from ffcli.store.liveness import this_process
from ffcli.store.mapping import is_complete

if TYPE_CHECKING:
    from ffcli.engine.training import TrainingState


LOCK_TIMEOUT = 60.0
"""Seconds that training waits for another process's lock before it gives up the commit of an epoch."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for beside the config. Nothing here decides the trajectory."""

    eval_every: int = 1
    """Evaluate the epochs that this number divides, and the last one."""
    device: str = "cpu"
    """As torch names it: `cpu`, `cuda`, `cuda:1`."""
    threads: int | None = None
    """For matrix products; None keeps torch's default."""
    name: str | None = None
    tags: tuple[str, ...] = ()
    note: str | None = None
    trace: tuple[int, ...] = ()
    """Phases (counted from 1) to trace hour by hour."""
    keep_state: KeepState = "auto"
    """Whether to keep the full training state of the completed run."""
    state_budget: float = 2.0
    """Gigabytes of states of completed runs that `auto` keeps."""
    force: bool = False
    """Train again even if the run is stored."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """A run, read at the epochs that were asked for."""

    run: RunRecord
    epochs: list[EpochMetrics]
    cached: bool
    """Whether it was stored already."""

    @property
    def final_accuracy(self) -> float | None:
        return self.epochs[-1].accuracy if self.epochs else None

    @property
    def best_accuracy(self) -> float | None:
        return best_accuracy(self.epochs)


class Watcher(Protocol):
    """Shows the progress of a run."""

    def begins(self, config: RunConfig, run_id: str, state: TrainingState) -> None: ...
    def epoch_ended(self, metrics: EpochMetrics) -> None: ...
    def notice(self, text: str) -> None: ...


def run(config: RunConfig, request: Request, store: Store, data_folder: Path, watcher: Watcher) -> RunResult:
    """Return the stored run of a config, or train what is missing of it and record that.

    A run ends when `ffcli.engine.training.train` has trained the last of `config.epochs`, when a number is no longer
    finite (Diverged), or when it is interrupted; `recorded_errors` writes the end of a run that was not completed.

    Args:
        config: the run.
        request: how to train and label it.
        store: the database.
        data_folder: where prepared datasets are.
        watcher: shows the progress.

    Raises:
        Diverged: if a number becomes infinite or NaN, or did so in the stored run.
        OutOfMemory: if the run needs more memory than there is.
        RunBusy: if another process is training the run.
        ClaimLost: if another process took the run over.
        Interrupted: on Ctrl-C; the run is saved and can be continued.
        BadOption, BadData, BadDatabase, StoreBusy, StorageFull: as data and store do.
    """
    if not request.force and (stored := look_up(store, config)):
        notify_untraced(store, stored.run.id, config, request.trace, stored.epochs[-1].hour, watcher.notice)
        return replace(stored, run=apply_labels(store, stored.run, request))

    from ffcli.running.session import load_data, make_stretch

    data = load_data(config, device=request.device, threads=request.threads, data_folder=data_folder)
    try:
        recording = claim_run(config, request, store)
    except RunStored:
        return run(config, request, store, data_folder, watcher)
    run_id = recording.claim.run_id
    with recorded_errors(recording), heartbeats(lambda: [recording]):
        stretch = make_stretch(config, data, saved_arrays(recording, watcher.notice), request.trace)
        if stretch.notice:
            watcher.notice(stretch.notice)
        notify_untraced(store, run_id, config, request.trace, stretch.state.hour, watcher.notice)
        claims.add_provenance(store, recording.claim, stretch.provenance)
        watcher.begins(config, run_id, stretch.state)
        for metrics in stretch.epochs(eval_every=request.eval_every):
            record_epoch(recording, metrics, stretch.arrays(), stretch.trace(), keep_state=request.keep_state)
            watcher.epoch_ended(metrics)
        finish(
            recording,
            stretch.arrays(),
            keep_state=request.keep_state,
            state_budget=request.state_budget,
            notice=watcher.notice,
        )
    return _result(store, runs.get(store, run_id), config, cached=False)


def look_up(store: Store, config: RunConfig) -> RunResult | None:
    """Return the stored run of a config if nothing of it has to be trained (see `is_complete`); None otherwise.

    Raises:
        Diverged: if that run diverged, because the same config always does.
    """
    found = runs.find(store, config.key)
    if found is None:
        return None
    if found.diverged:
        raise Diverged(f"run {found.id[:ID_DIGITS]}: {found.failure}")
    result = _result(store, found, config, cached=True)
    return result if is_complete(found, result.epochs, config.epochs) else None


def is_stored(store: Store, config: RunConfig) -> bool:
    """Return whether nothing has to be trained for this config: the run is stored, or is known to diverge."""
    try:
        return look_up(store, config) is not None
    except Diverged:
        return True


def stored_result(store: Store, config: RunConfig) -> RunResult | None:
    """Return the stored run of a config up to the epochs asked for, also if it is shorter; None if there is none."""
    found = runs.find(store, config.key)
    return _result(store, found, config, cached=True) if found else None


def claim_run(config: RunConfig, request: Request, store: Store) -> Recording:
    """Claim the run for this process.

    Raises:
        RunBusy: if another process is training it.
        RunStored: if another process ended it after it was looked up.
    """
    claimed = claims.claim(
        store, config, owner=this_process(), name=request.name, tags=request.tags, note=request.note,
        force=request.force,
    )  # fmt: skip
    return Recording(store, claimed, config)


def apply_labels(store: Store, stored: RunRecord, request: Request) -> RunRecord:
    """Replace name, tags and note of a stored run by those that the request gives."""
    return claims.relabel(store, stored, name=request.name, tags=request.tags, note=request.note)


def _result(store: Store, found: RunRecord, config: RunConfig, *, cached: bool) -> RunResult:
    return RunResult(found, [e for e in runs.epochs(store, found.id) if e.epoch <= config.epochs], cached)
