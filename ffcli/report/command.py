"""Commands that train the missing cells of a table."""

from __future__ import annotations

import shlex
from collections.abc import Collection

from ffcli.config import DEFAULT_PRESET
from ffcli.published import tables as paper_tables
from ffcli.report.protocol import Protocol
from ffcli.schedule import Schedule


def train_command(
    protocol: Protocol, dataset: str, negatives: str, schedule: Schedule, epochs: int | None = None
) -> str:
    """Return the command that trains a run of one cell.

    Args:
        protocol: the table's protocol.
        dataset: a name, or the path of an `.npz` file.
        negatives: the negative data.
        schedule: the phase lengths.
        epochs: epochs to train; None for as many as the preset has.
    """
    preset = protocol.preset or DEFAULT_PRESET
    flags = ["--dataset", dataset]
    if not dataset.endswith(".npz"):
        flags += ["--data", protocol.data]
    flags += ["--neg", negatives, *_schedule_flags(schedule)]
    if preset != DEFAULT_PRESET:
        flags += ["--preset", preset.option]
    if epochs not in (None, preset.epochs):
        flags += ["--epochs", str(epochs)]
    # With a cure the default scaling is another, so it is always given.
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
    if schedule.positive == schedule.negative:
        return [*flags, "--balanced"]
    return [*flags, "--neg-phase", str(schedule.negative)]


def sweep_command(
    number: int, protocol: Protocol, epochs: int, missing: Collection[tuple[str, str, Schedule]]
) -> str | None:
    """Return the sweep that trains every missing cell of one of the paper's tables, or None.

    Returns None if fewer than two cells are missing, if one of them is not in the paper, or if the protocol differs
    from a preset.

    Args:
        number: the table, 1 or 2.
        protocol: its protocol.
        epochs: its horizon.
        missing: dataset, negatives and schedule of every missing cell.
    """
    paper, preset = paper_tables()[number].rows, protocol.preset
    if preset is None or protocol.label != preset.label or len(missing) < 2:
        return None
    if not all(schedule in paper.get((dataset, negatives), {}) for dataset, negatives, schedule in missing):
        return None
    flags = ["--table", str(number), "--data", protocol.data]
    if preset != DEFAULT_PRESET:
        flags += ["--preset", preset.option]
    if epochs != preset.epochs:
        flags += ["--epochs", str(epochs)]
    return shlex.join(["ff", "sweep", *flags])
