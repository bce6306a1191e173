"""What the driver writes of a run: each epoch with its state, and the end. Only drivers call this; trainers never do.

Nothing here imports torch: states are numpy arrays by name, as the engine hands them over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ffcli.config import RunConfig
from ffcli.errors import ClaimLost, DamagedState, Diverged, FFError, Interrupted
from ffcli.records import ID_DIGITS, EpochMetrics, HourTrace
from ffcli.schedule import phase_hours
from ffcli.store import claims, runs, states
from ffcli.store.claims import Claim
from ffcli.store.database import Store
from ffcli.store.traces import traced
from ffcli.text import named

HEARTBEAT_SECONDS = 15.0

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Recording:
    """One claimed run and where it is written."""

    store: Store
    claim: Claim
    config: RunConfig


def saved_arrays(recording: Recording, notice: Callable[[str], None]) -> Arrays | None:
    """The state that an earlier stretch left; None where there is none to continue.

    A damaged one is kept aside, with a notice: the run starts again from the beginning, to the same bits.
    """
    path = states.state_path(recording.store, recording.claim.run_id)
    if not path.exists():
        return None
    try:
        arrays, metadata = states.load(path, key=recording.config.key)
    except DamagedState as error:
        aside = states.set_aside(path)
        notice(f"{error}: kept aside as {aside.name}; starting again from the beginning")
        return None
    epoch, wanted = int(metadata["epoch"]), recording.config.epochs
    return arrays if epoch < wanted or (epoch == wanted and _is_measured(recording, epoch)) else None


def record_epoch(recording: Recording, metrics: EpochMetrics, arrays: Arrays, trace: Sequence[HourTrace] = ()) -> None:
    """Commit the epoch, with what was traced in it, under the claim, then save the state: whoever lost the claim
    writes neither."""
    store, claim = recording.store, recording.claim
    claims.record_epoch(store, claim, metrics, trace)
    path = states.state_path(store, claim.run_id)
    states.save(path, dict(arrays), {}, key=recording.config.key, epoch=metrics.epoch)


def finish(recording: Recording, arrays: Arrays, *, keep_state: bool, notice: Callable[[str], None]) -> None:
    """A finished run keeps its weights; the full state only where that was asked for; and of its trace the phases
    that were traced to their end, with a notice of the others: a later stretch went on without tracing them."""
    store, claim, config = recording.store, recording.claim, recording.config
    path = states.weights_path(store, claim.run_id)
    states.save(path, weights(arrays, config.hidden), {}, key=config.key, epoch=config.epochs)
    if not keep_state:
        states.state_path(store, claim.run_id).unlink(missing_ok=True)
    halves = _traced_in_part(recording)
    claims.finish(store, claim, untraced=halves)
    if halves:
        notice(
            f"run {claim.run_id[:ID_DIGITS]}: {named('phase', halves)} traced only in part, which is not kept;"
            " use --force with --trace to train it again"
        )


def weights(arrays: Arrays, hidden: Sequence[int]) -> dict[str, NDArray[Any]]:
    """The network of a full state, named and shaped as `torch.nn.Linear` has it."""
    named = {}
    for number, units in enumerate(hidden):
        flat = arrays[f"layers.{number}.parameters"]
        named[f"layers.{number}.weight"] = flat[:-units].reshape(units, -1)
        named[f"layers.{number}.bias"] = flat[-units:]
    return named


@contextmanager
def ending(recording: Recording) -> Iterator[None]:
    """Whatever ends a run early is written into its row, so that the next call knows where it stands."""
    try:
        yield
    except ClaimLost:
        raise
    except BaseException as error:
        give_up(recording, error)
        if isinstance(error, KeyboardInterrupt):
            run = recording.claim.run_id[:ID_DIGITS]
            raise Interrupted(f"interrupted: run {run} is saved, and the same command continues it") from error
        raise


def give_up(recording: Recording, error: BaseException) -> None:
    """Divergence fails a run; anything else leaves it to be continued."""
    reason = "Ctrl-C" if isinstance(error, KeyboardInterrupt) else str(error) or type(error).__name__
    with suppress(FFError):
        if isinstance(error, Diverged):
            claims.fail(recording.store, recording.claim, reason)
        else:
            claims.interrupt(recording.store, recording.claim, reason)


@contextmanager
def heartbeats(held: Callable[[], Sequence[Recording]]) -> Iterator[None]:
    """A sign of life for every run held, from a thread of its own; one that fails never ends a training."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            for recording in held():
                with suppress(Exception):
                    claims.heartbeat(recording.store, recording.claim)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _traced_in_part(recording: Recording) -> list[int]:
    """The phases whose trace ends before they do, or before the run does."""
    last: dict[int, int] = {}
    for hour, phase in traced(recording.store, recording.claim.run_id).items():
        last[phase] = max(hour, last.get(phase, 0))
    config = recording.config
    return [phase for phase, hour in last.items() if hour < min(phase_hours(config.schedule, phase).stop, config.hours)]


def _is_measured(recording: Recording, epoch: int) -> bool:
    """Whether the store has the accuracy of this epoch: a state that ended there has nothing left to train."""
    return any(
        e.epoch == epoch and e.accuracy is not None for e in runs.epochs(recording.store, recording.claim.run_id)
    )
