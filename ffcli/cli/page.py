"""Write the page of `ff report --html`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ffcli.cli.console import line
from ffcli.records import RunSummary
from ffcli.store.database import Store
from ffcli.text import counted
from ffcli.web.content import read_content
from ffcli.web.page import check_file, write

NUMBERS = {"all": (1, 2), "1": (1,), "2": (2,), "cures": ()}
"""The paper's tables for each choice of `--table`."""


def write_page(store: Store, runs: Sequence[RunSummary], file: Path, *, table: str, **shown: Any) -> None:
    """Write the page of some runs to a file, and print the file's name. `shown` are options of `read_content`."""
    check_file(file, store.path)
    content = read_content(store, runs, numbers=NUMBERS[table], **shown)
    write(content, file)
    line(f"{file}: {counted(len(content.runs), 'run')}")
