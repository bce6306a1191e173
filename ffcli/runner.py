"""The life of one run: look up, claim, train, record and save each epoch, finish.

torch is imported only once a run must train; an answer from the store costs a database look-up.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ffcli.config import RunConfig
from ffcli.data import datasets
from ffcli.errors import ClaimLost, DamagedState, Diverged, FFError, Interrupted
from ffcli.records import EpochMetrics, Provenance, RunRecord, best_accuracy
from ffcli.store import claims, runs, states
from ffcli.store.claims import Claim
from ffcli.store.database import Store
from ffcli.store.liveness import this_process

if TYPE_CHECKING:
    from ffcli.data.tensors import TrainingTensors
    from ffcli.engine.training import TrainingState

HEARTBEAT_SECONDS = 15.0


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
    keep_state: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
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


def run(config: RunConfig, request: Request, store: Store, data_folder: Path, watcher: Watcher) -> Answer:
    """Answer from the store, or train what is missing and record it.

    Raises Diverged (also where the stored run did), RunBusy, ClaimLost, Interrupted, and what data and store raise.
    """
    if not request.force and (known := look_up(store, config)):
        return known
    data = _load(config, request, data_folder)
    claim = claims.claim(
        store, config, owner=this_process(), name=request.name, tags=request.tags, note=request.note,
        force=request.force,
    )  # fmt: skip
    with _ending(store, claim), _heartbeat(store, claim):
        state = _saved_state(store, claim, config, data, watcher) or _fresh_state(config, data)
        claims.add_provenance(store, claim, _provenance(data, state))
        watcher.begins(config, claim.run_id, state)
        for metrics, _ in _train(config, data, state, request):
            claims.record_epoch(store, claim, metrics)
            _save_state(store, claim, config, state)
            watcher.epoch_ended(metrics)
        _keep_weights(store, claim, config, state, keep_state=request.keep_state)
        claims.finish(store, claim)
    return replace(_read(store, runs.get(store, claim.run_id), config), cached=False)


def look_up(store: Store, config: RunConfig) -> Answer | None:
    """The stored run of this config where it is long enough and was evaluated at the epoch asked for. One whose
    process died after its last epoch, before it was finished, is no answer yet.

    Raises Diverged where that run failed: the same config fails the same way.
    """
    found = runs.find(store, config.key)
    if found is None:
        return None
    if found.status == "failed":
        raise Diverged(f"run {found.id[:7]} failed: {found.failure} (--force trains it anew)")
    answer = _read(store, found, config)
    reached = answer.epochs and answer.epochs[-1].epoch == config.epochs and answer.final_accuracy is not None
    unfinished = found.status in ("interrupted", "stale") and found.epochs_done >= found.config.epochs
    return answer if reached and not unfinished else None


def _read(store: Store, found: RunRecord, config: RunConfig) -> Answer:
    epochs = [e for e in runs.epochs(store, found.id) if e.epoch <= config.epochs]
    return Answer(found, epochs, cached=True)


def _load(config: RunConfig, request: Request, data_folder: Path) -> TrainingTensors:
    """The data on its device. Here torch is loaded; whatever does not fit is refused before anything is claimed."""
    from ffcli.devices import check_device, set_threads

    set_threads(request.threads)
    device = check_device(request.device)

    from ffcli.data.tensors import training_tensors

    return training_tensors(datasets.load(config.data, data_folder), config, device)


def _train(
    config: RunConfig, data: TrainingTensors, state: TrainingState, request: Request
) -> Iterator[tuple[EpochMetrics, TrainingState]]:
    from ffcli.engine.training import train

    return train(config, data, state, eval_every=request.eval_every)


def _fresh_state(config: RunConfig, data: TrainingTensors) -> TrainingState:
    from ffcli.engine.training import initial_state

    return initial_state(config, data.images.device)


def _saved_state(
    store: Store, claim: Claim, config: RunConfig, data: TrainingTensors, watcher: Watcher
) -> TrainingState | None:
    """Where an earlier stretch ended; None where there is nothing to continue, or nothing undamaged."""
    from ffcli.engine.training import restored_state

    path = states.state_path(store, claim.run_id)
    if not path.exists():
        return None
    try:
        arrays, _ = states.load(path, key=config.key)
        state = restored_state(config, arrays, data.images.device)
    except DamagedState as error:
        aside = states.set_aside(path)
        watcher.notice(f"{error}: kept aside as {aside.name}; starting again from the beginning")
        return None
    return state if state.epoch < config.epochs or _is_measured(store, claim, config.epochs) else None


def _is_measured(store: Store, claim: Claim, epoch: int) -> bool:
    """Whether the store has the accuracy of this epoch: a state that ended there has nothing left to train."""
    return any(e.epoch == epoch and e.accuracy is not None for e in runs.epochs(store, claim.run_id))


def _save_state(store: Store, claim: Claim, config: RunConfig, state: TrainingState) -> None:
    from ffcli.engine.training import state_arrays

    path = states.state_path(store, claim.run_id)
    states.save(path, state_arrays(state), {}, key=config.key, epoch=state.epoch)


def _keep_weights(store: Store, claim: Claim, config: RunConfig, state: TrainingState, *, keep_state: bool) -> None:
    """A finished run keeps its weights; the full state only where that was asked for."""
    from ffcli.engine.training import weight_arrays

    path = states.weights_path(store, claim.run_id)
    states.save(path, weight_arrays(state), {}, key=config.key, epoch=state.epoch)
    if not keep_state:
        states.state_path(store, claim.run_id).unlink(missing_ok=True)


def _provenance(data: TrainingTensors, state: TrainingState) -> Provenance:
    from ffcli.provenance import provenance

    return provenance(data.images.device, state.epoch)


@contextmanager
def _ending(store: Store, claim: Claim) -> Iterator[None]:
    """Whatever ends a run is written into its row, so that the next call knows where it stands."""
    try:
        yield
    except ClaimLost:
        raise
    except Diverged as error:
        claims.fail(store, claim, str(error))
        raise
    except BaseException as error:
        reason = str(error) or type(error).__name__
        with suppress(FFError):
            claims.interrupt(store, claim, reason)
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(f"run {claim.run_id[:7]} is saved: the same command continues it") from error
        raise


@contextmanager
def _heartbeat(store: Store, claim: Claim) -> Iterator[None]:
    """Sign of life from a thread of its own; one that fails never ends a training."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            with suppress(Exception):
                claims.heartbeat(store, claim)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
