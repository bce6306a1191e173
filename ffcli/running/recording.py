"""What the driver writes of a run: each epoch with its state, and how the run ended. Trainers never call this.

Imports no torch: states are numpy arrays by name.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from numpy.typing import NDArray

from ffcli.choices import KeepState
from ffcli.config import RunConfig
from ffcli.errors import BadOption, ClaimLost, DamagedState, Diverged, FFError, Interrupted, OutOfMemory, kind_of
from ffcli.records import ID_DIGITS, EpochMetrics, HourTrace, RunRecord
from ffcli.running.messages import Arrays
from ffcli.schedule import phase_hours
from ffcli.store import claims, maintenance, runs, states
from ffcli.store.claims import Claim
from ffcli.store.database import Store
from ffcli.store.traces import traced
from ffcli.text import counted, named

HEARTBEAT_SECONDS = 15.0

PERMANENT = (Diverged, OutOfMemory)
"""Errors that another attempt would meet again."""

Notice = Callable[[str], None]
"""Shows a line to the user."""


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A claimed run, and the database that it is recorded in."""

    store: Store
    claim: Claim
    config: RunConfig

    @property
    def short_id(self) -> str:
        return self.claim.run_id[:ID_DIGITS]


def saved_arrays(recording: Recording, notice: Notice) -> Arrays | None:
    """Return the saved state from which the run continues; None to begin at epoch 0.

    With a notice, a damaged state is set aside, and a state is not used if the database lacks one of the epochs up to
    it (an older copy of the database was restored, or its last commits were lost): continuing would leave a gap. The
    run then begins again and gets the same bits. A notice also says so if the state was not kept.
    """
    store, run_id = recording.store, recording.claim.run_id
    path = states.state_path(store, run_id)
    if not path.exists():
        if done := recording.claim.epochs_done:
            notice(
                f"run {recording.short_id}: the state of its {counted(done, 'epoch')} was not kept: starting again"
                " from the beginning"
            )
        return None
    try:
        arrays, epoch = states.load(path, key=recording.config.key)
    except DamagedState as error:
        aside = states.set_aside(path)
        notice(f"{error}: kept aside as {aside.name}; starting again from the beginning")
        return None
    evaluated = {e.epoch: e.accuracy is not None for e in runs.epochs(store, run_id)}
    if not evaluated.keys() >= set(range(epoch + 1)):
        notice(
            f"run {recording.short_id}: its saved state is of epoch {epoch}, but the database lacks epochs before it:"
            " starting again from the beginning"
        )
        return None
    last = recording.config.epochs
    # A state of the last epoch is of use only if that epoch was evaluated: there is nothing left to train.
    return arrays if epoch < last or (epoch == last and evaluated[epoch]) else None


def stored_weights(store: Store, run: RunRecord) -> tuple[Arrays, int]:
    """Return the last weights of a run: the final ones, or those of a later state of a run that is continued.

    Returns:
        Weights (units, inputs) and biases (units,) named as in `torch.nn.Linear`, and the epoch after which they were
        stored.

    Raises:
        BadOption: if none are stored.
        DamagedState: if the file is damaged or does not fit the run.
    """
    final, state = states.weights_path(store, run.id), states.state_path(store, run.id)
    saved = {file: epoch for file in (final, state) if (epoch := states.saved_epoch(file)) is not None}
    if not saved and not (final.exists() or state.exists()):
        raise BadOption(_without_weights(run))
    file = max(saved, key=lambda file: saved[file]) if saved else final
    arrays, epoch = states.load(file, key=run.key)
    named = weights(arrays, run.config.hidden) if file == state else arrays
    for number, (inputs, units) in enumerate(pairwise((run.config.data.features, *run.config.hidden))):
        for name, shape in ((f"layers.{number}.weight", (units, inputs)), (f"layers.{number}.bias", (units,))):
            if name not in named or named[name].shape != shape:
                raise DamagedState(f"{file} does not fit the run: '{name}' is missing or misshapen")
    return named, epoch


def _without_weights(run: RunRecord) -> str:
    short = run.id[:ID_DIGITS]
    if run.status == "running":
        return f"run {short} has no stored weights yet: they are stored when it ends"
    again = "" if run.status in ("interrupted", "stale") else " --force"
    return (
        f"run {short} has no stored weights:"
        f" `ff show {short} --toml > run.toml && ff train --config run.toml{again}` trains and stores them"
    )


def record_epoch(
    recording: Recording,
    metrics: EpochMetrics,
    arrays: Arrays,
    trace: Sequence[HourTrace] = (),
    *,
    keep_state: KeepState = "auto",
) -> None:
    """Commit an epoch, then save its state.

    Args:
        recording: the run.
        metrics: the epoch.
        arrays: the state after the epoch.
        trace: the hours that were traced in this epoch.
        keep_state: whether the state is to be kept when the run is completed.

    Raises:
        ClaimLost: if another process took the run over; neither is written then.
        StorageFull: if no space is left.
    """
    claims.record_epoch(recording.store, recording.claim, metrics, trace)
    _save_state(recording, arrays, metrics.epoch, keep_state)


def record_epochs(store: Store, epochs: Sequence[tuple[Recording, EpochMetrics]]) -> set[Recording]:
    """Commit epochs of several runs in one transaction; return the runs that another process took over."""
    lost = claims.record_epochs(store, [(recording.claim, metrics) for recording, metrics in epochs])
    return {recording for recording, _ in epochs if recording.claim in lost}


def save_state(recording: Recording, arrays: Arrays, epoch: int, *, keep_state: KeepState) -> None:
    """Save the state after a recorded epoch. Arguments and exceptions are those of `record_epoch`."""
    claims.heartbeat(recording.store, recording.claim)
    _save_state(recording, arrays, epoch, keep_state)


def _save_state(recording: Recording, arrays: Arrays, epoch: int, keep_state: KeepState) -> None:
    path, key = states.state_path(recording.store, recording.claim.run_id), recording.config.key
    states.save(path, dict(arrays), key=key, epoch=epoch, disposable=keep_state != "always")


def finish(recording: Recording, arrays: Arrays, *, keep_state: KeepState, state_budget: float, notice: Notice) -> None:
    """Save the weights of a run, mark it as completed, then delete the states that are not to be kept.

    States are deleted last: if the process is killed before the end is committed, the run ends from its state; if it
    is killed after that, the next run that ends, or `ff prune`, deletes them.

    The trace of a phase is deleted, with a notice, if a later stretch continued the phase without tracing it.

    Args:
        recording: the run.
        arrays: its final state.
        keep_state: whether to keep the saved state beside the weights.
        state_budget: gigabytes of states of completed runs that `auto` keeps.
        notice: shows a line to the user.

    Raises:
        ClaimLost: if another process took the run over.
        StorageFull: if no space is left.
    """
    store, claim, config = recording.store, recording.claim, recording.config
    path = states.weights_path(store, claim.run_id)
    states.save(path, weights(arrays, config.hidden), key=config.key, epoch=config.epochs)
    incomplete = _incompletely_traced_phases(recording)
    claims.finish(store, claim, untraced=incomplete)
    # The run is complete: a database that cannot be locked now does not make it fail, and a later run deletes more.
    with suppress(FFError):
        if keep_state == "never":
            maintenance.drop_state(store, claim.run_id)
        maintenance.limit_states(store, int(state_budget * 1e9))
    if incomplete:
        notice(
            f"run {recording.short_id}: the trace of {named('phase', incomplete)} is incomplete and was deleted;"
            " use --force with --trace to train it again"
        )


def weights(arrays: Arrays, hidden: Sequence[int]) -> dict[str, NDArray[Any]]:
    """Return the weights (units, inputs) and biases (units,) of a state, named as in `torch.nn.Linear`."""
    by_name = {}
    for number, units in enumerate(hidden):
        flat = arrays[f"layers.{number}.parameters"]
        by_name[f"layers.{number}.weight"] = flat[:-units].reshape(units, -1)
        by_name[f"layers.{number}.bias"] = flat[-units:]
    return by_name


@contextmanager
def recorded_errors(recording: Recording) -> Iterator[None]:
    """Record an error that ends the run, and raise it again; KeyboardInterrupt becomes Interrupted."""
    try:
        yield
    except ClaimLost:
        raise
    except BaseException as error:
        record_error(recording, error)
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(
                f"interrupted: run {recording.short_id} is saved, and the same command continues it"
            ) from error
        raise


def record_error(recording: Recording, error: BaseException) -> None:
    """Mark the run as failed if another attempt would fail again, otherwise as interrupted. Never raises."""
    reason = "Ctrl-C" if isinstance(error, KeyboardInterrupt) else str(error) or type(error).__name__
    with suppress(FFError):
        if isinstance(error, (*PERMANENT, MemoryError)):
            claims.fail(recording.store, recording.claim, reason, kind_of(error))
        else:
            claims.interrupt(recording.store, recording.claim, reason)


@contextmanager
def heartbeats(held: Callable[[], Sequence[Recording]]) -> Iterator[None]:
    """Send heartbeats for all runs that `held` returns, from a thread; an error of a heartbeat is ignored."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            with suppress(Exception):
                recordings = held()
                if recordings:
                    claims.heartbeats(recordings[0].store, [recording.claim for recording in recordings])

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def notify_untraced(
    store: Store, run_id: str, config: RunConfig, phases: Collection[int], hours: int, notice: Notice
) -> None:
    """Show which of the phases to trace were trained without a trace in the run's first `hours` hours."""
    if not phases:
        return
    known = traced(store, run_id)
    untraced = []
    for phase in phases:
        of_phase = phase_hours(config.schedule, phase)
        if any(hour + 1 not in known for hour in range(of_phase.start, min(of_phase.stop, hours))):
            untraced.append(phase)
    if untraced:
        notice(
            f"run {run_id[:ID_DIGITS]} was trained without a trace of its {named('phase', untraced)}:"
            " use --force to train it again, with a trace"
        )


def _incompletely_traced_phases(recording: Recording) -> list[int]:
    """The phases whose trace ends before the phase, and before the run."""
    last: dict[int, int] = {}
    for hour, phase in traced(recording.store, recording.claim.run_id).items():
        last[phase] = max(hour, last.get(phase, 0))
    config = recording.config
    return [phase for phase, hour in last.items() if hour < min(phase_hours(config.schedule, phase).stop, config.hours)]
