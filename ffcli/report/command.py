"""The command line that adds a run to a table."""

from __future__ import annotations

import shlex

from ffcli.config import DEFAULT_PRESET
from ffcli.report.protocol import Protocol
from ffcli.schedule import Schedule


def command_for(protocol: Protocol, dataset: str, negatives: str, schedule: Schedule, epochs: int | None = None) -> str:
    """The command line that trains this cell under `protocol`. `dataset` is a name, or the path of an `.npz`;
    `epochs` is given where a table asks for another number than the preset's."""
    preset = protocol.preset or DEFAULT_PRESET
    flags = ["--dataset", dataset]
    if not dataset.endswith(".npz"):
        flags += ["--data", protocol.data]
    flags += ["--neg", negatives, *_schedule_flags(schedule)]
    if preset != DEFAULT_PRESET:
        flags += ["--preset", preset.name]
    if epochs not in (None, preset.epochs):
        flags += ["--epochs", str(epochs)]
    # With a cure, leaving the scaling out would ask for another.
    settings = protocol.differences() | ({"lr_scaling": protocol.lr_scaling} if protocol.cure else {})
    for name, value in settings.items():
        implied = getattr(preset, name, None) == value or (name == "mask_blur" and negatives == "label")
        if name not in ("data", "algorithm_version") and not implied:
            flags += ["--" + name.replace("_", "-"), ",".join(map(str, value)) if name == "hidden" else str(value)]
    return shlex.join(["ff", "train", *flags])


def _schedule_flags(schedule: Schedule) -> list[str]:
    if not schedule.separated:
        return ["--unseparated"]
    flags = ["--pos-phase", str(schedule.positive)]
    if schedule.negative == 1:
        return flags
    return (
        [*flags, "--balanced"]
        if schedule.positive == schedule.negative
        else [*flags, "--neg-phase", str(schedule.negative)]
    )
