"""One stretch of a run: data, state and training put together. Knows no store and no terminal; imports torch.

The runner calls it in its own process, a sweep's workers in theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ffcli.config import RunConfig
from ffcli.data import datasets
from ffcli.data.tensors import TrainingTensors, training_tensors
from ffcli.engine.tracing import Tracer, drain, make_tracer, observe, tracer_arrays
from ffcli.engine.training import TrainingState, initial_state, restored_state, state_arrays, train
from ffcli.errors import DamagedState
from ffcli.machine import check_precision, provenance, set_numerics, torch_device
from ffcli.records import EpochMetrics, HourTrace, Provenance


@dataclass(frozen=True, slots=True)
class Stretch:
    """Ready to train from where `state` stands."""

    config: RunConfig
    data: TrainingTensors
    state: TrainingState
    provenance: Provenance
    tracer: Tracer | None = None
    notice: str | None = None
    """Why it begins anew where a state was saved."""

    def epochs(self, *, eval_every: int) -> Iterator[EpochMetrics]:
        """Train; each epoch's metrics as it ends."""
        look = partial(observe, self.tracer) if self.tracer else None
        for metrics, _ in train(self.config, self.data, self.state, eval_every=eval_every, observe=look):
            yield metrics

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state as it stands now. On the CPU these are views: copy or write them before training on."""
        return state_arrays(self.state) | (tracer_arrays(self.tracer) if self.tracer else {})

    def trace(self) -> list[HourTrace]:
        """What was traced since the last call."""
        return drain(self.tracer) if self.tracer else []


def load_data(config: RunConfig, *, device: str, threads: int | None, data_folder: Path) -> TrainingTensors:
    """The data on its device, with the threads asked for.

    Raises BadOption for a device that is not there, or has not the products that the precision asks for.
    """
    place = torch_device(device)
    check_precision(config.precision, place)
    set_numerics(threads, tf32=config.precision == "tf32")
    return training_tensors(datasets.load(config.data, data_folder), config, place)


def make_stretch(
    config: RunConfig,
    data: TrainingTensors,
    saved: Mapping[str, NDArray[Any]] | None,
    trace: Collection[int] = (),
) -> Stretch:
    """From a saved state, or from the beginning, also where the saved one does not fit: another version of the program
    wrote it. `trace` names phases (from 1)."""
    device = data.images.device
    notice = None
    try:
        state = restored_state(config, dict(saved), device) if saved else initial_state(config, device)
    except DamagedState as error:
        state, saved = initial_state(config, device), None
        notice = f"{error}: starting again from the beginning"
    tracer = make_tracer(config, data, state, trace, saved) if trace else None
    return Stretch(config, data, state, provenance(device, state.epoch), tracer, notice)
