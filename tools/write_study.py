"""Write measured tables into a page, between its markers, as `ff report --format markdown` prints them.

python tools/write_study.py results/scaled.db README.md --table 2
python tools/write_study.py results/study.db docs/study.md
python tools/write_study.py results/cures.db docs/cures.md --table cures
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from ffcli.published import cell
from ffcli.schedule import Schedule

CHANCE = 10.0
"""Accuracy in percent that a cell counts for if the paper shows it as "-"."""

BEGIN, END = "<!-- written by tools/{} -->", "<!-- end of what a tool wrote -->"
TOOL = Path(__file__).name


def study_tables(database: Path, table: str = "all") -> str:
    """Return what `ff report --table` prints in Markdown, with the paper's figures."""
    command = [sys.executable, "-m", "ffcli", "report", "--db", str(database), "--table", table, "--format", "markdown"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def written(page: str, tool: str = TOOL) -> str:
    """Return the text between the markers of a page."""
    return page.partition(BEGIN.format(tool))[2].partition(END)[0].strip()


def put(text: str, page: Path, tool: str = TOOL) -> None:
    """Replace the text between the markers of a page."""
    begin = BEGIN.format(tool)
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    page.write_text(f"{before}{begin}\n\n{text}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def markdown(lines: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown; the second line holds the alignment of the columns."""
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def published(dataset: str, negatives: str, schedule: Schedule) -> float | None:
    """Return the published accuracy in percent, chance for the paper's "-", or None if the paper has no such cell."""
    found = cell(dataset, negatives, schedule)
    return None if found is None else CHANCE if found[1] is None else found[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("--table", default="all", help="as for `ff report`")
    arguments = parser.parse_args()
    put(study_tables(arguments.database, arguments.table), arguments.page)


if __name__ == "__main__":
    main()
