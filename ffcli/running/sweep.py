"""Many cells: look up what is missing, have workers train it, and record what they hand back.

Only this driver writes the database. A worker that dies, or a driver that is killed, loses at most the epoch under
way: every cell continues from its last saved epoch. Sweeps of the same cells in two processes share the work: a cell
that another one trains is left to it and looked at again later.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from ffcli.config import RunConfig
from ffcli.errors import ClaimLost, Diverged, FFError, RunBusy
from ffcli.estimate import epoch_operations
from ffcli.records import ID_DIGITS, EpochMetrics
from ffcli.running import recording as record
from ffcli.running.messages import Began, EpochDone, Failed, Finished, Message, Task
from ffcli.running.recording import Recording
from ffcli.running.run import Request, claim, label, look_up
from ffcli.running.workers import Lost, Workers
from ffcli.store import claims
from ffcli.store.database import Store

TRIES = 2
"""How often a cell may fail without finishing an epoch in between."""

CellStatus = Literal["queued", "running", "elsewhere", "done", "cached", "failed", "stopped"]


@dataclass(slots=True)
class Cell:
    """One config of the sweep and where it stands."""

    config: RunConfig
    status: CellStatus = "queued"
    metrics: EpochMetrics | None = None
    """The furthest epoch seen."""
    failures: int = 0
    reason: str | None = None
    recording: Recording | None = None
    worker: str | None = None

    @property
    def name(self) -> str:
        return self.config.key


class SweepWatcher(Protocol):
    """What the driver tells whoever watches."""

    def changed(self, cell: Cell) -> None: ...
    def notice(self, text: str) -> None: ...


@dataclass(slots=True)
class Sweep:
    """A sweep under way. `stopping`, set by whoever answers Ctrl-C, lets each worker end its epoch."""

    cells: list[Cell]
    store: Store
    data_folder: Path
    request: Request
    watcher: SweepWatcher
    stopping: bool = False
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
    look_again: float = 2.0,
) -> list[Cell]:
    """Train every cell that the store does not have; returns them all, with how each ended.

    `watch` gets the sweep before it starts; `look_again`: seconds between looks at cells that others train.
    """
    under_way = Sweep(make_cells(configs), store, data_folder, request, watcher)
    watch(under_way)
    _look_up_all(under_way)
    under_way.queue.extend(longest_first(c for c in under_way.cells if c.status == "queued"))
    try:
        with record.heartbeats(lambda: [c.recording for c in under_way.running if c.recording]):
            while under_way.running or (not under_way.stopping and _is_waiting(under_way)):
                _start_cells(under_way, workers)
                for name, message in workers.as_they_come(look_again):
                    _answer(under_way, workers, name, message)
                if workers.free and not under_way.queue:
                    _look_at_others(under_way, look_again)
    finally:
        workers.close()
        for cell in under_way.running:
            _stop(cell)
    return under_way.cells


def make_cells(configs: Iterable[RunConfig]) -> list[Cell]:
    """A cell for each config that differs in what identifies a run; the longest where epochs differ."""
    longest: dict[str, RunConfig] = {}
    for config in configs:
        known = longest.get(config.key)
        if known is None or config.epochs > known.epochs:
            longest[config.key] = config
    return [Cell(config) for config in longest.values()]


def longest_first(cells: Iterable[Cell]) -> list[Cell]:
    """So that no long cell is left for the end, when the other workers have nothing to do."""
    return sorted(cells, key=lambda cell: -cell.config.epochs * epoch_operations(cell.config))


def _is_waiting(sweep: Sweep) -> bool:
    return bool(sweep.queue) or any(cell.status == "elsewhere" for cell in sweep.cells)


def _look_up_all(sweep: Sweep) -> None:
    if not sweep.request.force:
        for cell in sweep.cells:
            _look_up(sweep, cell)


def _look_up(sweep: Sweep, cell: Cell) -> None:
    """Mark the cell as cached, or as failed, if the store says so."""
    try:
        answer = look_up(sweep.store, cell.config)
    except Diverged as error:
        _set(sweep, cell, "failed", str(error))
        return
    if answer:
        label(sweep.store, answer.run, sweep.request)
        cell.metrics = answer.epochs[-1]
        _set(sweep, cell, "cached")


def _start_cells(sweep: Sweep, workers: Workers) -> None:
    while workers.free and sweep.queue and not sweep.stopping:
        cell = sweep.queue.popleft()
        try:
            # Another sweep may have trained it since this one began.
            if cell.status == "elsewhere" or not sweep.request.force:
                _look_up(sweep, cell)
            if cell.status in ("cached", "failed"):
                continue
            cell.recording = claim(cell.config, sweep.request, sweep.store)
        except RunBusy:
            _set(sweep, cell, "elsewhere")
            continue
        arrays = record.saved_arrays(cell.recording, sweep.watcher.notice)
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


def _answer(sweep: Sweep, workers: Workers, name: str, message: Message | Lost) -> None:
    """Record what a worker handed back."""
    cell = next(c for c in sweep.cells if c.name == name)
    assert cell.recording is not None
    try:
        match message:
            case Began(provenance, notice):
                if notice:
                    sweep.watcher.notice(f"run {cell.recording.claim.run_id[:ID_DIGITS]}: {notice}")
                claims.add_provenance(sweep.store, cell.recording.claim, provenance)
            case EpochDone(metrics, arrays):
                record.record_epoch(cell.recording, metrics, arrays)
                if cell.metrics is None or metrics.epoch > cell.metrics.epoch:
                    cell.metrics, cell.failures = metrics, 0
                _set(sweep, cell, "running")
                if sweep.stopping and metrics.epoch < cell.config.epochs:
                    workers.stop(name)
                    _stop(cell)
            case Finished(arrays):
                keep = sweep.request.keep_state
                record.finish(cell.recording, arrays, keep_state=keep, notice=sweep.watcher.notice)
                workers.finished(name)
                _set(sweep, cell, "done")
            case Failed(reason, diverged):
                workers.finished(name)
                _retry_or_fail(sweep, cell, Diverged(reason) if diverged else FFError(reason))
            case Lost(reason):
                _retry_or_fail(sweep, cell, FFError(reason))
    except ClaimLost:
        workers.stop(name)
        sweep.watcher.notice(f"run {cell.recording.claim.run_id[:ID_DIGITS]} was taken over by another process")
        _set(sweep, cell, "elsewhere")


def _retry_or_fail(sweep: Sweep, cell: Cell, error: FFError) -> None:
    """Once more from the last saved epoch; a second failure in a row is recorded, and a divergence at once: it would
    come again."""
    assert cell.recording is not None
    cell.failures += 1
    if cell.failures < TRIES and not sweep.stopping and not isinstance(error, Diverged):
        sweep.watcher.notice(f"{error}: trying again from the last saved epoch")
        record.give_up(cell.recording, error)
        _set(sweep, cell, "queued")
        sweep.queue.appendleft(cell)
    else:
        claims.fail(sweep.store, cell.recording.claim, str(error))
        _set(sweep, cell, "failed", str(error))


def _stop(cell: Cell) -> None:
    """Leave the cell to be continued."""
    assert cell.recording is not None
    record.give_up(cell.recording, KeyboardInterrupt())
    cell.status = "stopped"


def _look_at_others(sweep: Sweep, seconds: float) -> None:
    """Queue the cells that other processes train: they may be done, or left by a process that died."""
    others = [cell for cell in sweep.cells if cell.status == "elsewhere"]
    if others and not sweep.running:
        time.sleep(seconds)
    sweep.queue.extend(others)


def _set(sweep: Sweep, cell: Cell, status: CellStatus, reason: str | None = None) -> None:
    cell.status, cell.reason = status, reason
    sweep.watcher.changed(cell)


def count_status(cells: Sequence[Cell], status: CellStatus) -> int:
    """How many cells ended so."""
    return sum(cell.status == status for cell in cells)
