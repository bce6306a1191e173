"""One stretch of a run: data, state and training together. Imports torch; knows neither database nor terminal.

`ff train` uses it in its own process, a sweep in its worker processes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch
from numpy.typing import NDArray

from ffcli.config import RunConfig
from ffcli.data import datasets
from ffcli.data.prepared import Arrays
from ffcli.data.tensors import TrainingTensors, training_tensors
from ffcli.engine.kernels import fused_for, is_for_kernel
from ffcli.engine.tracing import Tracer, drain, make_tracer, observe, tracer_arrays
from ffcli.engine.training import TrainingState, initial_state, restored_state, state_arrays, train
from ffcli.errors import DamagedState, OutOfMemory
from ffcli.estimate import memory_bytes
from ffcli.machine import check_precision, provenance, set_numerics, torch_device
from ffcli.records import EpochMetrics, HourTrace, Provenance

ADVICE = "use a smaller --hidden or --batch-size, or another --device"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A run that is ready to train from where `state` is."""

    config: RunConfig
    data: TrainingTensors
    state: TrainingState
    provenance: Provenance
    tracer: Tracer | None = None
    notice: str | None = None
    """Why it begins at epoch 0 although there is a saved state."""

    def epochs(self, *, eval_every: int) -> Iterator[EpochMetrics]:
        """Train, and yield the metrics of each epoch as it ends.

        Args:
            eval_every: evaluate the epochs that this number divides, and the last one.

        Raises:
            Diverged: if a number becomes infinite or NaN.
            OutOfMemory: if there is not enough memory.
        """
        look = partial(observe, self.tracer) if self.tracer else None
        with memory_errors(self.config):
            for metrics, _ in train(self.config, self.data, self.state, eval_every=eval_every, observe=look):
                yield metrics

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the current state. On the CPU the arrays are views: copy or write them before training on."""
        return state_arrays(self.state) | (tracer_arrays(self.tracer) if self.tracer else {})

    def trace(self) -> list[HourTrace]:
        """Return what was traced since the last call."""
        return drain(self.tracer) if self.tracer else []


def load_data(
    config: RunConfig, *, device: str, threads: int | None, data_folder: Path, received: Arrays | None = None
) -> TrainingTensors:
    """Return the run's data on its device, after setting the number of threads of this process.

    Args:
        config: the run.
        device: `cpu`, `cuda` or `cuda:N`.
        threads: number of threads of matrix products; None keeps torch's default.
        data_folder: where prepared datasets are.
        received: the dataset, if another process sent it.

    Raises:
        BadOption: if the device does not exist or does not support the precision.
        BadData, StorageFull: if the dataset cannot be read or prepared.
        OutOfMemory: if there is not enough memory.
    """
    place = torch_device(device)
    check_precision(config.precision, place)
    set_numerics(threads, tf32=config.precision == "tf32")
    with memory_errors(config):
        if received is not None:
            arrays = datasets.receive(config.data, received, data_folder)
        else:
            arrays = datasets.load(config.data, data_folder)
        return training_tensors(arrays, config, place)


def make_stretch(
    config: RunConfig,
    data: TrainingTensors,
    saved: Mapping[str, NDArray[Any]] | None,
    trace: Collection[int] = (),
) -> Stretch:
    """Return a stretch that begins at the saved state, or at epoch 0 if there is none or it does not fit.

    Args:
        config: the run.
        data: its data, on the device that trains it.
        saved: the arrays of a saved state; those of another version of the program may not fit.
        trace: phases (counted from 1) to trace.

    Raises:
        OutOfMemory: if the run needs more memory than the machine has.
    """
    device, notice = data.images.device, None
    if device.type == "cpu":
        check_memory(config)
    with memory_errors(config):
        try:
            state = restored_state(config, dict(saved), device) if saved else initial_state(config, device)
        except DamagedState as error:
            state, saved = initial_state(config, device), None
            notice = f"{error}: starting again from the beginning"
        tracer = make_tracer(config, data, state, trace, saved) if trace else None
    return Stretch(config, data, state, _provenance(state, device), tracer, notice)


def _provenance(state: TrainingState, device: torch.device) -> Provenance:
    """Return where and with what a run is trained from here on; on a GPU, also whether its kernel is missing."""
    found = provenance(device, state.epoch)
    layers = [(layer.parameters, len(layer.bias)) for layer in state.network.layers]
    if any(is_for_kernel(*layer) and not fused_for(*layer) for layer in layers):
        return replace(found, device=f"{found.device} without the fused kernel")
    return found


def check_memory(config: RunConfig) -> None:
    """Check that the machine has enough memory, free or not, RAM and swap, to train the run on the CPU.

    Raises:
        OutOfMemory: if it has not.
    """
    needed, total = memory_bytes(config), psutil.virtual_memory().total + psutil.swap_memory().total
    if needed > total:
        needed_gib, total_gib = (f"{bytes / 2**30:,.1f} GiB" for bytes in (needed, total))
        raise OutOfMemory(f"out of memory: the run needs at least {needed_gib}, this machine has {total_gib}; {ADVICE}")


@contextmanager
def memory_errors(config: RunConfig) -> Iterator[None]:
    """Translate memory errors of Python and torch.

    Raises:
        OutOfMemory: if there is not enough memory on the device of the run.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_memory_error(error):
            raise
        raise OutOfMemory(f"out of memory on {config.device}; {ADVICE}") from error


def _is_memory_error(error: Exception) -> bool:
    """Whether memory could not be allocated; on the CPU, torch reports that as a RuntimeError without a type."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return any(sign in str(error) for sign in ("DefaultCPUAllocator", "bad_alloc", os.strerror(errno.ENOMEM)))
