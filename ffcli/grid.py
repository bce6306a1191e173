"""Which cells a sweep is made of: the paper's tables, or every combination of lists of options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from ffcli.errors import BadOption
from ffcli.options import TrainOptions, parse_options, read_toml
from ffcli.published import tables
from ffcli.schedule import Schedule
from ffcli.text import parse_ranges, unknown

Options = dict[str, Any]

OWN = ("table", "seeds", "balanced")
"""What a grid file may have beside the options of a run."""


def table_cells(numbers: Sequence[int]) -> list[Options]:
    """The options of the cells of the paper's tables; a cell that both have is there once (52 in all)."""
    cells = {
        (dataset, negatives, schedule): {"dataset": dataset, "neg": negatives, **phase_options(schedule)}
        for number in numbers
        for (dataset, negatives), row in tables()[number].rows.items()
        for schedule in row
    }
    return list(cells.values())


def phase_options(schedule: Schedule) -> Options:
    if not schedule.separated:
        return {"unseparated": True}
    return {"pos_phase": schedule.positive, "neg_phase": schedule.negative}


def combinations(lists: Mapping[str, Sequence[Any]], *, balanced: bool = False) -> list[Options]:
    """Every combination of the lists' values; `balanced` gives each as many hours asleep as awake."""
    cells = [dict(zip(lists, values, strict=True)) for values in product(*lists.values())]
    if balanced:
        cells = [cell | {"neg_phase": cell.get("pos_phase", 1)} for cell in cells]
    return cells


def restricted(cells: Iterable[Options], lists: Mapping[str, Sequence[Any]]) -> list[Options]:
    """The tables' cells, only those whose data set and negatives are in `lists`, times its other lists.

    Raises BadOption where `lists` has phases of its own: a table brings them.
    """
    if clash := {"pos_phase", "neg_phase", "unseparated"} & lists.keys():
        raise BadOption(f"--table brings its own phases: leave out --{min(clash).replace('_', '-')}, or --table")
    rows = {name: set(lists[name]) for name in ("dataset", "neg") if name in lists}
    kept = [cell for cell in cells if all(cell[name] in wanted for name, wanted in rows.items())]
    others = combinations({name: values for name, values in lists.items() if name not in rows})
    return [cell | other for cell in kept for other in others]


def split_list(option: str, text: str) -> list[str]:
    """`1,2,4` -> its parts. Raises BadOption for an empty part."""
    parts = [part.strip() for part in text.split(",")]
    if "" in parts:
        raise BadOption(f"--{option.replace('_', '-')} '{text}': give values with commas between, such as 1,2,4")
    return parts


def seed_list(text: str) -> list[int]:
    """`0-4` or `0,2,5-7` -> the seeds. Raises BadOption."""
    try:
        return [seed for some in parse_ranges(text) for seed in some]
    except ValueError as error:
        raise BadOption(f"--seeds '{text}': give seeds such as 0-4 or 0,2,5") from error


def read_grid(path: Path) -> tuple[dict[str, list[Any]], list[int], bool]:
    """A grid file: an option's value or list of values by name, `table`, `seeds` and `balanced`.

    Returns (lists, table numbers, balanced). Raises BadOption.
    """
    content, where = read_toml("--grid", path), f"--grid {path}"
    if extra := content.keys() - {*OWN, *TrainOptions.model_fields}:
        raise BadOption(f"{where}: {unknown('option', min(extra), (*OWN, *TrainOptions.model_fields))}")
    numbers, balanced = _as_list(content.pop("table", [])), content.pop("balanced", False)
    if wrong := [n for n in numbers if type(n) is not int or n not in tables()]:
        raise BadOption(f"{where}: table should be {' or '.join(map(str, tables()))}, not {wrong[0]!r}")
    if not isinstance(balanced, bool):
        raise BadOption(f"{where}: balanced should be true or false, not {balanced!r}")
    if "seeds" in content:
        seeds = content.pop("seeds")
        content["seed"] = seed_list(seeds) if isinstance(seeds, str) else seeds
    # A list of layer sizes is one value; a list of such lists is several.
    if isinstance(sizes := content.get("hidden"), list) and not any(isinstance(size, list) for size in sizes):
        content["hidden"] = [sizes]
    lists = {name: _as_list(value) for name, value in content.items()}
    for name, values in lists.items():
        if not values:
            raise BadOption(f"{where}: {name} should have at least one value")
        for value in values:
            parse_options({name: value}, where)
    return lists, numbers, balanced


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
