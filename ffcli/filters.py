"""Check the values that select runs: a name that cannot match any run is an error, not an empty result."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from ffcli.data.catalogue import CATALOGUE
from ffcli.data.negatives import STRATEGIES
from ffcli.errors import BadOption
from ffcli.text import unknown

if TYPE_CHECKING:
    from ffcli.store.database import Store


def stored_preset(name: str | None) -> str | None:
    """Return the stored label of a preset. Raises BadOption for an unknown one."""
    if name is None or name == "custom":
        return name
    from ffcli.config import PRESETS

    if name not in PRESETS:
        raise BadOption(unknown("preset", name, [*PRESETS, "custom"]))
    return PRESETS[name].label


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
    try:
        return datetime.fromisoformat(since).astimezone()
    except (ValueError, OverflowError) as error:
        raise BadOption(f"--since '{since}': give a day from 1970 on, or a time, such as 2025-01-31T12:00") from error


def check_dataset(store: Store, name: str | None) -> None:
    """Raise BadOption for a dataset that is neither in the catalogue nor in the database."""
    if name is None:
        return
    from ffcli.store.runs import Filters, list_runs

    if name in CATALOGUE:
        return
    stored = {run.config.data.name for run in list_runs(store, Filters(include_superseded=True))}
    if name not in stored:
        raise BadOption(unknown("dataset", name, dict.fromkeys((*CATALOGUE, *sorted(stored)))))
