"""The command line that fills all of a table that is missing."""

from __future__ import annotations

import shlex

from ffcli.config import DEFAULT_PRESET
from ffcli.published import tables as paper_tables
from ffcli.report.tables import Table


def sweep_command(table: Table) -> str | None:
    """The sweep that trains every missing cell; None where one cell is missing, where one is not the paper's, and where
    the protocol is more than a preset."""
    paper, preset = paper_tables()[table.number].rows, table.protocol.preset
    if preset is None or table.protocol.label != preset.label or len(table.missing) < 2:
        return None
    if not all(cell.schedule in paper.get((row.dataset, row.negatives), {}) for row, cell in table.missing):
        return None
    flags = ["--table", str(table.number), "--data", table.protocol.data]
    if preset != DEFAULT_PRESET:
        flags += ["--preset", preset.name]
    if table.epochs != preset.epochs:
        flags += ["--epochs", str(table.epochs)]
    return shlex.join(["ff", "sweep", *flags])
