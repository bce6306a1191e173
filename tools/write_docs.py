"""Regenerate the generated parts of README.md and docs/ from the definitions and from the runs in results/.

    python tools/write_docs.py

Generated are docs/commands.md, the tables of the study, the cures and the scaling benchmark, the pictures
docs/report.svg, docs/cures.svg, docs/phases.svg, docs/updates.svg, docs/curves.svg, docs/dead-units.svg and
docs/scaling.svg, and every output block. An output block is a marker with a command, followed by a fenced block with
the command and its output:

    <!-- output: ff list-runs --limit 3 --db results/study.db -->
    ```console
    $ ff list-runs --limit 3 --db results/study.db
    ...
    ```

Commands use copies of the databases, so nothing can change the stored results. The pictures of traces
(docs/trace-*.png) cannot be regenerated: their runs were not kept.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "results" / "README.md"]

GENERATORS = """
    tools/write_commands.py
    tools/write_study.py results/scaled.db README.md --table 2
    tools/write_study.py results/study.db docs/study.md
    tools/write_study.py results/cures.db docs/cures.md --table cures
    tools/write_scaling.py results/scaling.json docs/speed.md docs/scaling.svg
    tools/choose_updates.py results/calibration.db docs/reproduction.md docs/updates.svg
    tools/write_study.py results/cifar10.db docs/reproduction.md --table 1
    tools/choose_preset.py table results/fast.db docs/reproduction.md
    tools/write_reproduction.py results/scaled.db results/study.db docs/reproduction.md --figures docs
    tools/make_readme_picture.py results/scaled.db --table 2
    -m ffcli plot cures --db results/cures.db --output docs/cures.svg
    -m ffcli plot phases --db results/study.db --output docs/phases.svg
"""
"""Python commands that write generated files, one per line."""

BLOCK = re.compile(
    r"^<!-- output: (?P<command>ff (?P<arguments>.+?)(?: \| head -n (?P<lines>\d+))?) -->\n"
    r"```console\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def main() -> None:
    with copied_results() as run:
        for line in GENERATORS.strip().splitlines():
            run(shlex.split(line))
        for page in PAGES:
            before = page.read_text(encoding="utf-8")
            page.write_text(BLOCK.sub(lambda block: with_new_text(block, run), before), encoding="utf-8")


Run = Callable[[Sequence[str]], str]
"""Runs Python with these arguments and returns what it prints on standard output."""


@contextmanager
def copied_results() -> Iterator[Run]:
    """Yield a function that runs Python commands with a copy in place of each database in results/."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        databases = {f"results/{file.name}": shutil.copy(file, folder) for file in (ROOT / "results").glob("*.db")}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FFCLI_")} | {
            "COLUMNS": "100", "NO_COLOR": "1", "TZ": "UTC", "PYTHONPATH": str(ROOT),
        }  # fmt: skip

        def run(arguments: Sequence[str]) -> str:
            command = [sys.executable, *(str(databases.get(argument, argument)) for argument in arguments)]
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8")
            if done.returncode:
                raise SystemExit(f"{shlex.join(arguments)}: exit code {done.returncode}\n{done.stderr}")
            return done.stdout

        yield run


def with_new_text(block: re.Match[str], run: Run) -> str:
    """Return an output block with what its command prints now."""
    return f"<!-- output: {block['command']} -->\n```console\n{new_text(block, run)}```"


def new_text(block: re.Match[str], run: Run) -> str:
    """Return the text inside an output block: the command and what it prints now."""
    output = run(["-m", "ffcli", *shlex.split(block["arguments"])]).rstrip()
    lines = [line.rstrip() for line in output.splitlines()]
    shown = lines[: int(block["lines"])] if block["lines"] else lines
    return "\n".join([f"$ {block['command']}", *shown, ""])


if __name__ == "__main__":
    main()
