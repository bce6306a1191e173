"""Write the study's tables into the README, between its markers, as `ff report --format markdown` draws them.

python tools/write_study.py results/study.db README.md
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

BEGIN, END = "<!-- study: written by tools/write_study.py -->", "<!-- end of study -->"


def study_tables(database: Path) -> str:
    """Both tables with the published figures, in Markdown."""
    command = [sys.executable, "-m", "ffcli", "report", "--db", str(database), "--format", "markdown"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def written(readme: str) -> str:
    """What the README says between the markers."""
    return readme.partition(BEGIN)[2].partition(END)[0].strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", type=Path)
    parser.add_argument("readme", type=Path)
    arguments = parser.parse_args()
    before, _, rest = arguments.readme.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    text = f"{before}{BEGIN}\n\n{study_tables(arguments.database)}\n\n{END}{after}"
    arguments.readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
