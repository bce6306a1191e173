"""What a sweep's driver and its workers say to each other: arrays and a little text, as safetensors bytes.

A message is never unpickled: whatever arrives is arrays by name and strings by name, or it is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import NDArray
from pydantic import TypeAdapter
from safetensors.numpy import load, save

from ffcli.config import RunConfig
from ffcli.records import EpochMetrics, Provenance

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Task:
    """A cell to train from `arrays` (a saved state) or from the beginning."""

    config: RunConfig
    arrays: Arrays | None
    data_folder: str
    device: str
    """As torch names it; a worker with a device of its own takes that."""
    eval_every: int = 1
    threads: int | None = 1


@dataclass(frozen=True, slots=True)
class Began:
    """A worker has its data and its state."""

    provenance: Provenance
    notice: str | None = None
    """Why the task begins anew where it has a saved state."""


@dataclass(frozen=True, slots=True)
class EpochDone:
    """An epoch ended, with the state it ended in."""

    metrics: EpochMetrics
    arrays: Arrays


@dataclass(frozen=True, slots=True)
class Finished:
    """The task is trained to its end; `arrays` is its final state."""

    arrays: Arrays


@dataclass(frozen=True, slots=True)
class Failed:
    """The task raised; `diverged` where training met a number that is not finite."""

    reason: str
    diverged: bool


Message = Task | Began | EpochDone | Finished | Failed

_PROVENANCE = TypeAdapter(Provenance)
_METRICS = TypeAdapter(EpochMetrics)


def pack(message: Message) -> bytes:
    """A message as bytes."""
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
    header = json.dumps({"kind": type(message).__name__, "state": arrays is not None, **fields}).encode()
    body = save(dict(arrays)) if arrays is not None else b""
    return len(header).to_bytes(8, "big") + header + body


def unpack(data: bytes) -> Message:
    """The message in `data`. Raises ValueError where there is none."""
    size = int.from_bytes(data[:8], "big")
    fields = json.loads(data[8 : 8 + size])
    kind, has_state = fields.pop("kind"), fields.pop("state")
    arrays = load(data[8 + size :]) if has_state else None
    if kind == "Task":
        return Task(RunConfig.model_validate(fields.pop("config")), arrays, **fields)
    if kind == "EpochDone" and arrays is not None:
        return EpochDone(_METRICS.validate_python(fields["metrics"]), arrays)
    if kind == "Finished" and arrays is not None:
        return Finished(arrays)
    if kind == "Began":
        return Began(_PROVENANCE.validate_python(fields["provenance"]), fields["notice"])
    if kind == "Failed":
        return Failed(**fields)
    raise ValueError(f"no message: {kind}")
