"""The options by which several commands choose runs. A name that can fit no run is wrong use, not an empty answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ffcli.errors import BadOption
from ffcli.text import unknown

if TYPE_CHECKING:
    from ffcli.store.database import Store


def stored_preset(name: str | None) -> str | None:
    """The label that runs are stored under. Raises BadOption for a preset that does not exist."""
    if name is None or name == "custom":
        return name
    from ffcli.config import PRESETS

    if name not in PRESETS:
        raise BadOption(unknown("preset", name, [*PRESETS, "custom"]))
    return PRESETS[name].label


def known_negatives(name: str | None) -> str | None:
    """The name itself. Raises BadOption for negatives that do not exist."""
    if name is None:
        return None
    from ffcli.data.negatives import STRATEGIES  # with numpy, which takes a tenth of a second

    if name not in STRATEGIES:
        raise BadOption(unknown("negatives", name, STRATEGIES))
    return name


def named_cure(name: str | None) -> str | None:
    """As runs are stored with it: `replay` is `replay:512`. Raises BadOption for a cure that does not exist."""
    if name is None:
        return None
    from ffcli.settings import parse

    return str(parse({"cure": name}).cure)


def check_dataset(store: Store, name: str | None) -> None:
    """Raise BadOption for a data set that is neither in the catalogue nor, as a file's stem, in the database."""
    if name is None:
        return
    from ffcli.data.datasets import CATALOGUE
    from ffcli.store.runs import Filters, list_runs

    if name in CATALOGUE:
        return
    stored = {run.config.data.name for run in list_runs(store, Filters(include_superseded=True))}
    if name not in stored:
        raise BadOption(unknown("data set", name, dict.fromkeys((*CATALOGUE, *sorted(stored)))))
