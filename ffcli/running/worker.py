"""What a Dask worker does for a sweep: it trains a run part by part. It opens no database.

Each part is one Dask task. Between two parts the training state stays in this process, so that it crosses the network
only as the result of a part, directly from the worker to the sweep. The metrics of an epoch are sent at once, as an
event.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ffcli.data import datasets
from ffcli.data.prepared import Arrays as Dataset
from ffcli.errors import BadData, DownloadFailed, StorageFull, kind_of
from ffcli.records import EpochMetrics
from ffcli.running.handshake import PROCESS
from ffcli.running.messages import BEGAN, METRICS, Arrays, Began, Failed, Gone, NoData, Part, Result, Task

if TYPE_CHECKING:
    from ffcli.running.session import Stretch


@dataclass(slots=True)
class Training:
    """A stretch that is being trained."""

    name: str
    stretch: Stretch
    epochs: Iterator[EpochMetrics]
    began: Began
    parts: int = 0
    """Parts that are complete."""


@dataclass(slots=True)
class State:
    """What this worker process keeps between two parts."""

    training: Training | None = None
    stopping: set[str] = field(default_factory=set)
    """Topics of the sweeps that asked to stop at the end of the epoch."""


STATE = State()


def dask_setup(worker: object) -> None:
    """Set up a worker process: its sweep handles Ctrl-C, and reports errors. Dask calls this when a process starts."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    silence_dask()


def silence_dask() -> None:
    """Turn Dask's log messages off: a sweep reports in one line what a user has to know."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def stop(topic: str) -> None:
    """End the parts of a sweep with the epoch that they are in."""
    STATE.stopping.add(topic)


def train_part(task: Task, saved: Arrays | None = None, dataset: Dataset | None = None) -> Result:
    """Train a part of a run.

    Args:
        task: the part.
        saved: the saved state that part 0 begins with; None to begin at epoch 0.
        dataset: the run's dataset, if this host has no copy.
    """
    if task.process != PROCESS:
        return Gone()
    try:
        training = _begin(task, saved, dataset) if task.number == 0 else STATE.training
        if isinstance(training, NoData):
            return training
        if training is None or (training.name, training.parts) != (task.stretch, task.number):
            return Gone()
        return _train(task, training)
    except Exception as error:
        STATE.training = None
        return Failed(str(error) or type(error).__name__, kind_of(error))


def _begin(task: Task, saved: Arrays | None, dataset: Dataset | None) -> Training | NoData:
    from ffcli.running.session import load_data, make_stretch

    STATE.training, asked = None, task.assignment
    folder = _data_folder()
    try:
        data = load_data(asked.config, device=asked.device, threads=asked.threads, data_folder=folder, received=dataset)
    except (BadData, DownloadFailed, StorageFull) as error:
        if dataset is not None:
            raise
        return NoData(str(error))
    stretch = make_stretch(asked.config, data, saved)
    began = Began(stretch.provenance, stretch.notice)
    STATE.training = Training(task.stretch, stretch, stretch.epochs(eval_every=asked.eval_every), began)
    _send(task, {"began": BEGAN.dump_python(began, mode="json")})
    return STATE.training


def _train(task: Task, training: Training) -> Part:
    """Train until the time of the part is over, and return the metrics and a copy of the state."""
    from ffcli.machine import set_numerics

    # The flush mode of denormal numbers belongs to a thread, and Dask may use another thread than for the last part.
    set_numerics(task.assignment.threads, tf32=task.assignment.config.precision == "tf32")
    until, epochs = time.monotonic() + task.seconds, list[EpochMetrics]()
    for metrics in training.epochs:
        epochs.append(metrics)
        _send(task, {"metrics": METRICS.dump_python(metrics, mode="json")})
        if time.monotonic() >= until or task.topic in STATE.stopping:
            break
    training.parts += 1
    if training.stretch.state.epoch == task.assignment.config.epochs:
        STATE.training = None
    arrays = {name: array.copy() for name, array in training.stretch.arrays().items()}
    return Part(training.began, tuple(epochs), arrays, training.stretch.state.epoch)


def _send(task: Task, event: dict[str, Any]) -> None:
    from distributed import get_worker

    get_worker().log_event(task.topic, {"stretch": task.stretch, **event})


def _data_folder() -> Path:
    """Return the data folder of this host. It need not be writable: the sweep sends what a worker cannot keep."""
    named = os.environ.get("FFCLI_DATA_DIR")
    return Path(named) if named else datasets.data_folder(None, create=True)
