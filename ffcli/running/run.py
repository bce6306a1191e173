"""The life of one run: look up, claim, train, record and save each epoch, finish.

torch is imported only once a run must train; an answer from the store costs a database look-up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ffcli.config import RunConfig
from ffcli.errors import Diverged
from ffcli.records import ID_DIGITS, EpochMetrics, RunRecord, best_accuracy
from ffcli.running import recording as record
from ffcli.running.recording import Recording
from ffcli.schedule import phase_hours
from ffcli.store import claims, runs, traces
from ffcli.store.database import Store
from ffcli.store.liveness import this_process
from ffcli.text import named

if TYPE_CHECKING:
    from ffcli.engine.training import TrainingState


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for beside the config: nothing here decides the trajectory."""

    eval_every: int = 1
    device: str = "cpu"
    """As torch names it: `cpu`, `cuda`, `cuda:1`."""
    threads: int | None = None
    name: str | None = None
    tags: tuple[str, ...] = ()
    note: str | None = None
    trace: tuple[int, ...] = ()
    """Phases, counted from 1, to trace hour by hour."""
    keep_state: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class RunResult:
    """A run, read at the epochs that were asked for."""

    run: RunRecord
    epochs: list[EpochMetrics]
    cached: bool
    """Whether the store had it already."""

    @property
    def final_accuracy(self) -> float | None:
        return self.epochs[-1].accuracy if self.epochs else None

    @property
    def best_accuracy(self) -> float | None:
        return best_accuracy(self.epochs)


class Watcher(Protocol):
    """What the runner tells whoever watches."""

    def begins(self, config: RunConfig, run_id: str, state: TrainingState) -> None: ...
    def epoch_ended(self, metrics: EpochMetrics) -> None: ...
    def notice(self, text: str) -> None: ...


def run(config: RunConfig, request: Request, store: Store, data_folder: Path, watcher: Watcher) -> RunResult:
    """RunResult from the store, or train what is missing and record it.

    Raises Diverged (also where the stored run did), RunBusy, ClaimLost, Interrupted, and what data and store raise.
    """
    if not request.force and (known := look_up(store, config)):
        _tell_untraced(store, known.run.id, config, request, known.epochs[-1].hour, watcher)
        return replace(known, run=label(store, known.run, request))

    from ffcli.running.session import load_data, make_stretch

    data = load_data(config, device=request.device, threads=request.threads, data_folder=data_folder)
    recording = claim(config, request, store)
    with record.ending(recording), record.heartbeats(lambda: [recording]):
        stretch = make_stretch(config, data, record.saved_arrays(recording, watcher.notice), request.trace)
        if stretch.notice:
            watcher.notice(stretch.notice)
        _tell_untraced(store, recording.claim.run_id, config, request, stretch.state.hour, watcher)
        claims.add_provenance(store, recording.claim, stretch.provenance)
        watcher.begins(config, recording.claim.run_id, stretch.state)
        for metrics in stretch.epochs(eval_every=request.eval_every):
            record.record_epoch(recording, metrics, stretch.arrays(), stretch.trace())
            watcher.epoch_ended(metrics)
        record.finish(recording, stretch.arrays(), keep_state=request.keep_state, notice=watcher.notice)
    return replace(_read(store, runs.get(store, recording.claim.run_id), config), cached=False)


def label(store: Store, stored: RunRecord, request: Request) -> RunRecord:
    """Name, tags and note are no part of the key: a run that is stored already takes those that were given."""
    return claims.relabel(store, stored, name=request.name, tags=request.tags, note=request.note)


def _tell_untraced(
    store: Store, run_id: str, config: RunConfig, request: Request, hours: int, watcher: Watcher
) -> None:
    """Say which of the phases to trace the run's first `hours` hours went through without being traced."""
    if not request.trace:
        return
    known = traces.traced(store, run_id)
    wanted = {phase: phase_hours(config.schedule, phase) for phase in request.trace}
    missed = [
        phase
        for phase, of in wanted.items()
        if any(hour + 1 not in known for hour in range(of.start, min(of.stop, hours)))
    ]
    if missed:
        watcher.notice(
            f"run {run_id[:ID_DIGITS]} was trained without a trace of its {named('phase', missed)}:"
            " use --force to train it again, with a trace"
        )


def claim(config: RunConfig, request: Request, store: Store) -> Recording:
    """Claim the run for this process. Raises RunBusy."""
    claimed = claims.claim(
        store, config, owner=this_process(), name=request.name, tags=request.tags, note=request.note,
        force=request.force,
    )  # fmt: skip
    return Recording(store, claimed, config)


def look_up(store: Store, config: RunConfig) -> RunResult | None:
    """The stored run of this config where it is long enough and was evaluated at the epoch asked for. One whose
    process died after its last epoch, before it was finished, is no answer yet.

    Raises Diverged where that run did: the same config does so again.
    """
    found = runs.find(store, config.key)
    if found is None:
        return None
    if found.diverged:
        raise Diverged(f"run {found.id[:ID_DIGITS]}: {found.failure}")
    answer = _read(store, found, config)
    reached = answer.epochs and answer.epochs[-1].epoch == config.epochs and answer.final_accuracy is not None
    unfinished = found.status in ("interrupted", "stale") and found.epochs_done >= found.config.epochs
    return answer if reached and not unfinished else None


def is_stored(store: Store, config: RunConfig) -> bool:
    """Whether the store answers this config as it is, be it with a divergence."""
    try:
        return look_up(store, config) is not None
    except Diverged:
        return True


def stored_result(store: Store, config: RunConfig) -> RunResult | None:
    """What the store has of this config up to the epochs asked for, however far that is."""
    found = runs.find(store, config.key)
    return _read(store, found, config) if found else None


def _read(store: Store, found: RunRecord, config: RunConfig) -> RunResult:
    epochs = [e for e in runs.epochs(store, found.id) if e.epoch <= config.epochs]
    return RunResult(found, epochs, cached=True)
