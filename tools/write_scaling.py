"""Write the results of `ff bench --scaling --json` into the page on speed, as tables and as a picture.

ff bench --scaling --seconds 150 --json > results/scaling.json
python tools/write_scaling.py results/scaling.json docs/speed.md docs/scaling.svg
"""

from __future__ import annotations

import argparse
import json
from itertools import groupby
from pathlib import Path
from typing import Any

from write_study import put

from ffcli.bench.scaling import Point
from ffcli.benchmark import Machine
from ffcli.plots import save_pages, writing_picture
from ffcli.plots.scaling import PER_SECOND, UNITS, draw_scaling

TOOL = Path(__file__).name


def scaling_tables(measured: dict[str, Any]) -> str:
    """Return a table for each quantity: its values, measured rates, rates by the formula, and their ratio."""
    machine = measured["machine"]
    tables = [f"{machine['processor']}, torch {machine['torch']}, ffcli {machine['revision']}: {measured['default']}."]
    for (what, quantity), group in groupby(points_of(measured), lambda point: (point.what, point.quantity)):
        points = [point for point in group if point.per_second is not None]
        lines = [
            [f"{PER_SECOND[what]} by {UNITS[quantity]}", *(f"{point.value:,}" for point in points)],
            ["---", *["---:"] * len(points)],
            ["measured", *(f"{point.per_second:,.4g}" for point in points)],
            ["formula", *(f"{point.predicted_per_second:,.4g}" for point in points)],
            ["ratio", *(f"{point.predicted_seconds / (point.seconds or 1):.2f}" for point in points)],
        ]
        tables.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(tables)


def points_of(measured: dict[str, Any]) -> list[Point]:
    return [Point(**{name: point[name] for name in Point.__slots__}) for point in measured["points"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    measured = json.loads(arguments.measured.read_text(encoding="utf-8"))
    put(scaling_tables(measured), arguments.page, TOOL)
    with writing_picture("picture", arguments.picture):
        page = draw_scaling(points_of(measured), Machine(**measured["machine"]), measured["default"])
        save_pages([page], arguments.picture)


if __name__ == "__main__":
    main()
