"""Check the values that select runs: a name that cannot match any run is an error, not an empty result."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING

from ffcli.data.catalogue import CATALOGUE
from ffcli.data.negatives import STRATEGIES
from ffcli.errors import BadOption
from ffcli.text import unknown

if TYPE_CHECKING:
    from ffcli.store.database import Store


def known_preset(name: str | None) -> str | None:
    """Return the name or label of a preset, or `custom`. Raises BadOption for an unknown one."""
    if name is None:
        return None
    from ffcli.config import CUSTOM, PRESETS

    if name not in {*PRESETS, CUSTOM}:
        raise BadOption(unknown("preset", name, [*PRESETS, CUSTOM]))
    return name


def known_negatives(name: str | None) -> str | None:
    """Return the name of a strategy for negatives. Raises BadOption for an unknown one."""
    if name is None:
        return None
    if name not in STRATEGIES:
        raise BadOption(unknown("negatives", name, STRATEGIES))
    return name


def named_cure(name: str | None) -> str | None:
    """Return the stored name of a cure, `replay:512` for `replay`. Raises BadOption for an unknown one."""
    if name is None:
        return None
    from ffcli.settings import parse

    return str(parse({"cure": name}).cure)


def moment(since: str) -> datetime:
    """Parse a time in the user's time zone. Raises BadOption."""
    advice = f"--since '{since}': give a day from 1970 on, or a time, such as 2025-01-31T12:00"
    try:
        time = datetime.fromisoformat(since)
    except ValueError as error:
        raise BadOption(advice) from error
    try:
        return time.astimezone()
    except (ValueError, OverflowError) as error:
        if time.year >= 1970 and (zone := os.environ.get("TZ")):
            raise BadOption(f"TZ is set to {zone!r}, which is not a time zone: unset it") from error
        raise BadOption(advice) from error


def check_dataset(store: Store, name: str | None) -> None:
    """Raise BadOption for a dataset that is neither in the catalogue nor in the database."""
    if name is None:
        return
    from ffcli.store.runs import Filters, list_runs

    if name in CATALOGUE:
        return
    stored = {run.config.data.name for run in list_runs(store, Filters(include_superseded=True), lambda _: None)}
    if name not in stored:
        raise BadOption(unknown("dataset", name, dict.fromkeys((*CATALOGUE, *sorted(stored)))))
