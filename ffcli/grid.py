"""Which cells a sweep is made of: the paper's tables, or every combination of lists of options."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from ffcli.config import Schedule
from ffcli.errors import BadOption
from ffcli.published import tables

Options = dict[str, Any]


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
    seeds: list[int] = []
    for part in split_list("seeds", text):
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if not found or (found[2] and int(found[2]) < int(found[1])):
            raise BadOption(f"--seeds '{text}': give seeds such as 0-4 or 0,2,5")
        seeds += range(int(found[1]), int(found[2] or found[1]) + 1)
    return seeds


def read_grid(path: Path) -> tuple[dict[str, list[Any]], list[int], bool]:
    """A grid file: an option's value or list of values by name, `table`, `seeds` and `balanced`.

    Returns (lists, table numbers, balanced). Raises BadOption.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadOption(f"--grid {path}: {(error.strerror or str(error)).lower()}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadOption(f"--grid {path} is no TOML: {error}") from error
    numbers = _as_list(content.pop("table", []))
    balanced = bool(content.pop("balanced", False))
    if "seeds" in content:
        seeds = content.pop("seeds")
        content["seed"] = seed_list(seeds) if isinstance(seeds, str) else seeds
    # A list of layer sizes is one value; a list of such lists is several.
    if "hidden" in content and content["hidden"] and isinstance(content["hidden"][0], int):
        content["hidden"] = [content["hidden"]]
    return {name: _as_list(value) for name, value in content.items()}, numbers, balanced


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
