"""Many runs: look up what is missing, let workers train it, and record what they send back.

Only this driver writes the database. If a worker or the driver is killed, at most the current epoch is lost: every run
continues from its last saved epoch. Sweeps of the same runs in two processes share the work: a run that the other one
trains is left to it and looked up again later.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from ffcli.config import RunConfig
from ffcli.errors import ClaimLost, Diverged, FFError, RunBusy, RunStored, WorkerLost, error_of_kind
from ffcli.estimate import operations_left
from ffcli.records import EpochMetrics
from ffcli.running.messages import Began, EpochDone, Failed, Finished, Message, Task
from ffcli.running.recording import (
    PERMANENT,
    Recording,
    finish,
    heartbeats,
    record_epoch,
    record_error,
    saved_arrays,
)
from ffcli.running.run import Request, apply_labels, claim_run, look_up
from ffcli.running.workers import Lost, Silent, Workers
from ffcli.store import claims
from ffcli.store.database import Store

MAX_FAILURES = 2
"""A run that fails this often without an epoch in between has failed."""

CellStatus = Literal["queued", "running", "elsewhere", "done", "cached", "failed", "stopped"]


@dataclass(slots=True)
class Cell:
    """One run of the sweep, and its progress."""

    config: RunConfig
    status: CellStatus = "queued"
    metrics: EpochMetrics | None = None
    """The latest epoch."""
    failures: int = 0
    """Since the last epoch."""
    reason: str | None = None
    """Why it failed."""
    recording: Recording | None = None
    worker: str | None = None

    @property
    def name(self) -> str:
        return self.config.key


class SweepWatcher(Protocol):
    """Shows the progress of a sweep."""

    def changed(self, cell: Cell) -> None: ...
    def notice(self, text: str) -> None: ...


@dataclass(slots=True)
class Sweep:
    """A sweep in progress."""

    cells: list[Cell]
    store: Store
    data_folder: Path
    request: Request
    watcher: SweepWatcher
    stopping: bool = False
    """Set by the handler of Ctrl-C: workers finish their epoch, and no run is started."""
    queue: deque[Cell] = field(default_factory=deque)

    @property
    def running(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.status == "running"]


def sweep(
    configs: Iterable[RunConfig],
    request: Request,
    store: Store,
    data_folder: Path,
    workers: Workers,
    watcher: SweepWatcher,
    *,
    watch: Callable[[Sweep], None] = lambda _: None,
    recheck_seconds: float = 2.0,
) -> list[Cell]:
    """Train every run that is not stored.

    Args:
        configs: the runs; those with equal keys are one run.
        request: how to train and label them.
        store: the database.
        data_folder: where prepared datasets are.
        workers: train the runs; closed at the end.
        watcher: shows the progress.
        watch: called with the sweep before it starts.
        recheck_seconds: time between look-ups of runs that other processes train.

    Returns:
        All cells, each with the status in which it ended.
    """
    current = Sweep(make_cells(configs), store, data_folder, request, watcher)
    watch(current)
    _look_up_all(current)
    current.queue.extend(longest_first(c for c in current.cells if c.status == "queued"))
    try:
        with heartbeats(lambda: [c.recording for c in current.running if c.recording]):
            while current.running or (not current.stopping and _is_waiting(current)):
                _start_cells(current, workers)
                for name, message in workers.messages(recheck_seconds):
                    _handle(current, workers, name, message)
                if workers.free and not current.queue:
                    _requeue_elsewhere(current, recheck_seconds)
    finally:
        workers.close()
        for cell in current.running:
            _stop(cell)
    return current.cells


def make_cells(configs: Iterable[RunConfig]) -> list[Cell]:
    """Return one cell per key, with the most epochs that a config of this key asks for."""
    longest: dict[str, RunConfig] = {}
    for config in configs:
        known = longest.get(config.key)
        if known is None or config.epochs > known.epochs:
            longest[config.key] = config
    return [Cell(config) for config in longest.values()]


def longest_first(cells: Iterable[Cell]) -> list[Cell]:
    """Sort cells by their amount of work, so that no long run is left for the end, when other workers are idle."""
    return sorted(cells, key=lambda cell: -operations_left(cell.config))


def _is_waiting(sweep: Sweep) -> bool:
    return bool(sweep.queue) or any(cell.status == "elsewhere" for cell in sweep.cells)


def _look_up_all(sweep: Sweep) -> None:
    if not sweep.request.force:
        for cell in sweep.cells:
            _look_up(sweep, cell)


def _look_up(sweep: Sweep, cell: Cell) -> None:
    """Mark the cell as cached if its run is stored, or as failed if it is known to diverge."""
    try:
        stored = look_up(sweep.store, cell.config)
    except Diverged as error:
        _set(sweep, cell, "failed", str(error))
        return
    if stored:
        apply_labels(sweep.store, stored.run, sweep.request)
        cell.metrics = stored.epochs[-1]
        _set(sweep, cell, "cached")


def _start_cells(sweep: Sweep, workers: Workers) -> None:
    while workers.free and sweep.queue and not sweep.stopping:
        cell = sweep.queue.popleft()
        try:
            # Another sweep may have trained it in the meantime.
            if cell.status == "elsewhere" or not sweep.request.force:
                _look_up(sweep, cell)
            if cell.status in ("cached", "failed"):
                continue
            cell.recording = claim_run(cell.config, sweep.request, sweep.store)
        except RunBusy:
            _set(sweep, cell, "elsewhere")
            continue
        except RunStored:
            sweep.queue.appendleft(cell)
            continue
        arrays = saved_arrays(cell.recording, sweep.watcher.notice)
        task = Task(
            cell.config,
            arrays,
            str(sweep.data_folder),
            sweep.request.device,
            eval_every=sweep.request.eval_every,
            threads=sweep.request.threads,
        )
        cell.worker = workers.submit(cell.name, task)
        _set(sweep, cell, "running")


def _handle(sweep: Sweep, workers: Workers, name: str, message: Message | Silent | Lost) -> None:
    """Record what a worker sent."""
    cell = next(c for c in sweep.cells if c.name == name)
    assert cell.recording is not None
    try:
        match message:
            case Began(provenance, notice):
                if notice:
                    sweep.watcher.notice(f"run {cell.recording.short_id}: {notice}")
                claims.add_provenance(sweep.store, cell.recording.claim, provenance)
            case EpochDone(metrics, arrays):
                record_epoch(cell.recording, metrics, arrays, keep_state=sweep.request.keep_state)
                if cell.metrics is None or metrics.epoch > cell.metrics.epoch:
                    cell.metrics, cell.failures = metrics, 0
                _set(sweep, cell, "running")
                if sweep.stopping and metrics.epoch < cell.config.epochs:
                    workers.stop(name)
                    _stop(cell)
            case Finished(arrays):
                finish(
                    cell.recording,
                    arrays,
                    keep_state=sweep.request.keep_state,
                    state_budget=sweep.request.state_budget,
                    notice=sweep.watcher.notice,
                )
                workers.finished(name)
                _set(sweep, cell, "done")
            case Failed(reason, kind):
                workers.finished(name)
                _retry_or_fail(sweep, cell, error_of_kind(kind, reason))
            case Silent(text):
                config = cell.config
                what = f"{config.data.label}, {config.negatives}, {config.schedule}, seed {config.seed}"
                sweep.watcher.notice(f"run {cell.recording.short_id} ({what}): {text}")
            case Lost(reason):
                _retry_or_fail(sweep, cell, WorkerLost(reason))
    except ClaimLost:
        workers.stop(name)
        sweep.watcher.notice(f"run {cell.recording.short_id} was taken over by another process")
        _set(sweep, cell, "elsewhere")


def _retry_or_fail(sweep: Sweep, cell: Cell, error: FFError) -> None:
    """Queue the cell again, unless it failed before in the same epoch or would always fail."""
    assert cell.recording is not None
    cell.failures += 1
    if cell.failures < MAX_FAILURES and not sweep.stopping and not isinstance(error, PERMANENT):
        sweep.watcher.notice(f"{error}: trying again from the last saved epoch")
        record_error(cell.recording, error)
        _set(sweep, cell, "queued")
        sweep.queue.appendleft(cell)
    else:
        claims.fail(sweep.store, cell.recording.claim, str(error), error.kind)
        _set(sweep, cell, "failed", str(error))


def _stop(cell: Cell) -> None:
    """Mark the run as interrupted, so that it can be continued."""
    assert cell.recording is not None
    record_error(cell.recording, KeyboardInterrupt())
    cell.status = "stopped"


def _requeue_elsewhere(sweep: Sweep, seconds: float) -> None:
    """Queue the cells that other processes train: they may be done, or their process may have exited."""
    others = [cell for cell in sweep.cells if cell.status == "elsewhere"]
    if others and not sweep.running:
        time.sleep(seconds)
    sweep.queue.extend(others)


def _set(sweep: Sweep, cell: Cell, status: CellStatus, reason: str | None = None) -> None:
    cell.status, cell.reason = status, reason
    sweep.watcher.changed(cell)


def count_status(cells: Sequence[Cell], status: CellStatus) -> int:
    """Return the number of cells with this status."""
    return sum(cell.status == status for cell in cells)
