"""Many runs: look up what is missing, let workers train it, and record what they send back.

Only this process writes the database. If a worker or this process is killed, every run continues from its last saved
state. Sweeps of the same runs in two processes share the work: a run that the other one trains is left to it and looked
up again later.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ffcli.config import RunConfig
from ffcli.errors import ClaimLost, Diverged, FFError, RunBusy, RunStored, WorkerLost, error_of_kind
from ffcli.estimate import operations_left
from ffcli.machine import device_kind
from ffcli.records import EpochMetrics
from ffcli.running.handshake import Site
from ffcli.running.messages import Assignment, Began, EpochDone, Failed, Lost, Part
from ffcli.running.recording import (
    PERMANENT,
    Recording,
    finish,
    heartbeats,
    record_epochs,
    record_error,
    save_state,
    saved_arrays,
)
from ffcli.running.run import Request, apply_labels, claim_run, look_up
from ffcli.running.workers import Message, Workers
from ffcli.store import claims
from ffcli.store.database import Store

MAX_FAILURES = 2
"""A run that fails this often without a new epoch in between has failed."""

MAX_LOSSES = 4
"""So has a run that loses this many workers: it may be what kills them."""

RECHECK_SECONDS = 2.0
"""Time between look-ups of runs that other processes train."""

MESSAGE_SECONDS = 0.25
"""Time to wait for messages, after which Ctrl-C is noticed."""

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
    worker: Site | None = None
    name: str = field(init=False)
    """The key of the config: computing it takes a millisecond."""

    def __post_init__(self) -> None:
        self.name = self.config.key


class SweepWatcher(Protocol):
    """Shows the progress of a sweep."""

    def changed(self, cell: Cell) -> None: ...
    def notice(self, text: str) -> None: ...


@dataclass(slots=True)
class Sweep:
    """A sweep in progress."""

    cells: list[Cell]
    store: Store
    request: Request
    watcher: SweepWatcher
    stopping: bool = False
    """Set by the handler of Ctrl-C: workers finish their epoch, and no run is started."""
    queue: deque[Cell] = field(default_factory=deque)
    rechecked: float = 0.0
    """When runs of other processes were last looked up, by the monotonic clock."""

    @property
    def running(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.status == "running"]


def sweep(
    configs: Iterable[RunConfig],
    request: Request,
    store: Store,
    open_workers: Callable[[], AbstractContextManager[Workers]],
    watcher: SweepWatcher,
    *,
    watch: Callable[[Sweep], None] = lambda _: None,
) -> list[Cell]:
    """Train every run that is not stored.

    Args:
        configs: the runs; those with equal keys are one run.
        request: how to train and label them.
        store: the database.
        open_workers: starts what trains the runs; called only if a run is missing.
        watcher: shows the progress.
        watch: called with the sweep before it starts.

    Returns:
        All cells, each with the status in which it ended.

    Raises:
        ClusterLost: if there are no workers any more. Runs that were being trained can be continued.
    """
    current = Sweep(make_cells(configs), store, request, watcher)
    watch(current)
    _look_up_all(current)
    current.queue.extend(longest_first(c for c in current.cells if c.status == "queued"))
    if current.queue:
        with open_workers() as workers:
            _train_all(current, workers)
    return current.cells


def _train_all(sweep: Sweep, workers: Workers) -> None:
    cells = {cell.name: cell for cell in sweep.cells}
    try:
        with heartbeats(lambda: [c.recording for c in sweep.running if c.recording]):
            while sweep.running or (not sweep.stopping and _is_waiting(sweep)):
                if sweep.stopping:
                    workers.stop()
                _start_cells(sweep, workers)
                messages = ((cells[name], message) for name, message in workers.messages(MESSAGE_SECONDS))
                _handle_all(sweep, workers, messages)
                if workers.free and not sweep.queue:
                    _requeue_elsewhere(sweep)
    finally:
        for cell in sweep.running:
            _stop(cell)


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
        request = sweep.request
        # A worker sees only its own CUDA device.
        assignment = Assignment(cell.config, device_kind(request.device), request.eval_every, request.threads)
        cell.worker = workers.submit(cell.name, assignment, saved_arrays(cell.recording, sweep.watcher.notice))
        _set(sweep, cell, "running")


def _handle_all(sweep: Sweep, workers: Workers, messages: Iterator[tuple[Cell, Message]]) -> None:
    """Record what workers sent; the epochs that arrived together in one transaction.

    A cell that was stopped is passed over: its worker may send more before it hears of that.
    """
    epochs: list[tuple[Cell, EpochMetrics]] = []
    for cell, message in messages:
        if cell.status != "running":
            continue
        if isinstance(message, EpochDone):
            epochs.append((cell, message.metrics))
            continue
        # A state must not be ahead of the database.
        _record_epochs(sweep, workers, epochs)
        if cell.status == "running":
            _handle(sweep, workers, cell, message)
    _record_epochs(sweep, workers, epochs)


def _record_epochs(sweep: Sweep, workers: Workers, epochs: list[tuple[Cell, EpochMetrics]]) -> None:
    """Record epochs, and empty the list."""
    recorded = [(cell.recording, metrics) for cell, metrics in epochs if cell.recording]
    lost = record_epochs(sweep.store, recorded) if recorded else set()
    for cell, metrics in epochs:
        if cell.metrics is None or metrics.epoch > cell.metrics.epoch:
            cell.metrics, cell.failures = metrics, 0
        if cell.recording in lost and cell.status == "running":
            _leave(sweep, workers, cell)
        elif cell.status == "running":
            _set(sweep, cell, "running")
    epochs.clear()


def _handle(sweep: Sweep, workers: Workers, cell: Cell, message: Message) -> None:
    recording, request = cell.recording, sweep.request
    assert recording is not None
    try:
        match message:
            case Began(provenance, notice):
                if notice:
                    sweep.watcher.notice(f"run {recording.short_id}: {notice}")
                claims.add_provenance(sweep.store, recording.claim, provenance)
            case Part(arrays=arrays, epoch=epoch):
                if epoch < cell.config.epochs or request.keep_state != "never":
                    save_state(recording, arrays, epoch, keep_state=request.keep_state)
                if epoch == cell.config.epochs:
                    finish(
                        recording,
                        arrays,
                        keep_state=request.keep_state,
                        state_budget=request.state_budget,
                        notice=sweep.watcher.notice,
                    )
                    _set(sweep, cell, "done")
                elif sweep.stopping:
                    _stop(cell)
            case Failed(reason, kind):
                _retry_or_fail(sweep, cell, error_of_kind(kind, reason))
            case Lost(reason):
                _retry_or_fail(sweep, cell, WorkerLost(reason))
    except ClaimLost:
        _leave(sweep, workers, cell)


def _leave(sweep: Sweep, workers: Workers, cell: Cell) -> None:
    """Leave the run to the process that took it over."""
    assert cell.recording is not None
    workers.release(cell.name)
    sweep.watcher.notice(f"run {cell.recording.short_id} was taken over by another process")
    _set(sweep, cell, "elsewhere")


def _retry_or_fail(sweep: Sweep, cell: Cell, error: FFError) -> None:
    """Queue the cell again, unless it failed before in the same epoch or would always fail."""
    assert cell.recording is not None
    cell.failures += 1
    limit = MAX_LOSSES if isinstance(error, WorkerLost) else MAX_FAILURES
    if cell.failures < limit and not sweep.stopping and not isinstance(error, PERMANENT):
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


def _requeue_elsewhere(sweep: Sweep) -> None:
    """Queue the cells that other processes train: they may be done, or their process may have exited."""
    if time.monotonic() - sweep.rechecked > RECHECK_SECONDS:
        sweep.rechecked = time.monotonic()
        sweep.queue.extend(cell for cell in sweep.cells if cell.status == "elsewhere")


def _set(sweep: Sweep, cell: Cell, status: CellStatus, reason: str | None = None) -> None:
    cell.status, cell.reason = status, reason
    sweep.watcher.changed(cell)


def count_status(cells: Sequence[Cell], status: CellStatus) -> int:
    """Return the number of cells with this status."""
    return sum(cell.status == status for cell in cells)
