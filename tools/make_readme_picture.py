"""Draw the README's picture, `docs/report.svg`: the output of `ff report` for a database.

    python tools/make_readme_picture.py DATABASE [OPTION ...]

DATABASE is a path; the options are those of `ff report`.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "report.svg"
COLUMNS = 96


def main(database: str, options: Sequence[str]) -> None:
    if not Path(database).is_file():
        raise SystemExit(f"there is no database {database}")
    picture = as_svg(printed_report(database, options))
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(picture, encoding="utf-8")
    print(f"{PICTURE}: {len(picture):,} characters")


def printed_report(database: str, options: Sequence[str]) -> str:
    """Return what `ff report` prints on a colour terminal of `COLUMNS` columns."""
    terminal = {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "FORCE_COLOR": "1"}
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | terminal
    command = [sys.executable, "-m", "ffcli", "report", "--db", database, *options]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def as_svg(printed: str) -> str:
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(printed.rstrip()))
    return console.export_svg(title="ff report")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    main(sys.argv[1], sys.argv[2:])
