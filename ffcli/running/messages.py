"""Messages between a sweep's driver and its workers, as JSON and safetensors bytes. Nothing is ever unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import NDArray
from pydantic import TypeAdapter
from safetensors.numpy import load, save

from ffcli.choices import FailureKind
from ffcli.config import RunConfig
from ffcli.records import EpochMetrics, Provenance

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Task:
    """A run to train from `arrays` (a saved state), or from epoch 0 if that is None."""

    config: RunConfig
    arrays: Arrays | None
    data_folder: str
    device: str
    """As torch names it; a worker with a device of its own uses that device."""
    eval_every: int = 1
    threads: int | None = 1


@dataclass(frozen=True, slots=True)
class Began:
    """A worker has loaded the data and the state."""

    provenance: Provenance
    notice: str | None = None
    """Why the run begins at epoch 0 although the task has a saved state."""


@dataclass(frozen=True, slots=True)
class EpochDone:
    """An epoch ended; `arrays` is the state after it."""

    metrics: EpochMetrics
    arrays: Arrays


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is trained to its last epoch; `arrays` is its final state."""

    arrays: Arrays


@dataclass(frozen=True, slots=True)
class Failed:
    """Training raised an error."""

    reason: str
    kind: FailureKind


@dataclass(frozen=True, slots=True)
class Alive:
    """The worker still runs: sent regularly, because an epoch may take hours."""


Message = Task | Alive | Began | EpochDone | Finished | Failed

_PROVENANCE = TypeAdapter(Provenance)
_METRICS = TypeAdapter(EpochMetrics)


def pack(message: Message) -> bytes:
    """Return a message as bytes."""
    fields: dict[str, Any]
    match message:
        case Task(config, arrays):
            fields = {"config": config.model_dump(mode="json"), "data_folder": message.data_folder}
            fields |= {"eval_every": message.eval_every, "threads": message.threads, "device": message.device}
        case EpochDone(metrics, arrays):
            fields = {"metrics": asdict(metrics)}
        case Finished(arrays):
            fields = {}
        case _:
            arrays, fields = None, asdict(message)
    header = json.dumps({"type": type(message).__name__, "state": arrays is not None, **fields}).encode()
    body = save(dict(arrays)) if arrays is not None else b""
    return len(header).to_bytes(8, "big") + header + body


def unpack(data: bytes) -> Message:
    """Return the message in `data`.

    Raises:
        ValueError: if it is not a message.
    """
    size = int.from_bytes(data[:8], "big")
    fields = json.loads(data[8 : 8 + size])
    type_, has_state = fields.pop("type"), fields.pop("state")
    arrays = load(data[8 + size :]) if has_state else None
    if type_ == "Task":
        return Task(RunConfig.model_validate(fields.pop("config")), arrays, **fields)
    if type_ == "EpochDone" and arrays is not None:
        return EpochDone(_METRICS.validate_python(fields["metrics"]), arrays)
    if type_ == "Finished" and arrays is not None:
        return Finished(arrays)
    if type_ == "Began":
        return Began(_PROVENANCE.validate_python(fields["provenance"]), fields["notice"])
    if type_ == "Alive":
        return Alive()
    if type_ == "Failed":
        return Failed(**fields)
    raise ValueError(f"unknown message: {type_}")
