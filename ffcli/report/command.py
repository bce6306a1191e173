"""Commands that train the missing cells of a table."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection

from ffcli.config import ALGORITHM_VERSION, DEFAULT_PRESET, Preset, nearest_presets
from ffcli.data.negatives import STRATEGIES
from ffcli.published import tables as paper_tables
from ffcli.report.protocol import Protocol
from ffcli.schedule import Schedule
from ffcli.settings import AUTO, PresetSettings, as_option


def train_command(
    protocol: Protocol, dataset: str, negatives: str, schedule: Schedule, epochs: int | None = None
) -> str:
    """Return the command that trains a run of one cell.

    Args:
        protocol: the table's protocol.
        dataset: a name, or the absolute path of the user's data.
        negatives: the negative data.
        schedule: the phase lengths.
        epochs: epochs to train; None for as many as the preset has.
    """
    data = [] if os.sep in dataset else ["--data", protocol.data]
    unused = () if STRATEGIES[negatives].masks else ("mask_blur",)
    flags = [*_schedule_flags(schedule), *_protocol_flags(protocol, epochs, unused)]
    return shlex.join(["ff", "train", "--dataset", dataset, *data, "--neg", negatives, *flags])


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

    Returns None if fewer than two cells are missing, if one of them is not in the paper, or if an earlier version of
    the algorithm trained the others.

    Args:
        number: the table, 1 or 2.
        protocol: its protocol.
        epochs: its horizon.
        missing: dataset, negatives and schedule of every missing cell.
    """
    paper = paper_tables()[number].rows
    if protocol.algorithm_version != ALGORITHM_VERSION or len(missing) < 2:
        return None
    if not all(schedule in paper.get((dataset, negatives), {}) for dataset, negatives, schedule in missing):
        return None
    flags = ["--table", str(number), "--data", protocol.data]
    for place, option in enumerate(("--dataset", "--neg")):
        needed = dict.fromkeys(str(cell[place]) for cell in missing)
        if needed.keys() < {row[place] for row in paper}:
            flags += [option, ",".join(needed)]
    flags += _protocol_flags(protocol, epochs)
    return shlex.join(["ff", "sweep", *flags])


def _protocol_flags(protocol: Protocol, epochs: int | None, unused: Collection[str] = ()) -> list[str]:
    """Options for the preset, the epochs and every setting that differs from the defaults, except `unused` ones."""
    preset = _base(protocol)
    flags = [] if preset == DEFAULT_PRESET else ["--preset", preset.option]
    if epochs not in (None, preset.epochs):
        flags += ["--epochs", str(epochs)]
    # With a cure the default scaling is another, so it is always given.
    settings = {name: getattr(protocol, name) for name in PresetSettings.model_fields} | protocol.differences()
    settings |= {"lr_scaling": protocol.lr_scaling} if protocol.cure else {}
    if settings.pop("has_automatic_lr", False):
        settings |= {"lr": AUTO}
    for name, value in settings.items():
        if name not in ("data", "algorithm_version", *unused) and getattr(preset, name, None) != value:
            flags += as_option(name, value)
    return flags


def _base(protocol: Protocol) -> Preset:
    """The preset for the command: with an automatic rate, one whose rate it is computed from."""
    if protocol.has_automatic_lr and not protocol.preset:
        return next((p for p in nearest_presets(protocol) if p.lr == protocol.lr), DEFAULT_PRESET)
    return protocol.preset or DEFAULT_PRESET
