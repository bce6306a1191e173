"""Write the state of the study with `scaled@1` into docs/reproduction.md.

    python tools/write_reproduction.py results/scaled.db docs/reproduction.md

Writes how many cells are complete, the tables of `ff report`, and the accuracy of each run by epoch.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from write_study import put, study_tables

from ffcli.config import PRESETS
from ffcli.published import cell, tables
from ffcli.records import EpochMetrics, RunRecord
from ffcli.store.database import open_to_read
from ffcli.store.runs import Filters, epochs, list_runs
from ffcli.text import counted

TOOL = Path(__file__).name
PRESET = PRESETS["scaled@1"]
EPOCHS = (50, 100, 150, 200, 300, 400, 500)
"""Epochs whose accuracy is listed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", type=Path)
    parser.add_argument("page", type=Path)
    arguments = parser.parse_args()
    put(state(arguments.database), arguments.page, TOOL)


def state(database: Path) -> str:
    """Return coverage, tables and accuracy by epoch in Markdown."""
    with open_to_read(database) as store:
        runs = [(run, epochs(store, run.id)) for run in list_runs(store, Filters(preset=PRESET.label, sort="oldest"))]
    complete = [run for run, _ in runs if run.epochs_done >= PRESET.epochs]
    coverage = (
        f"{counted(len(complete), 'run')} of {PRESET.epochs} epochs complete, in"
        f" {len({_place(run) for run in complete})} of {number_of_cells()} cells;"
        f" {counted(len(runs) - len(complete), 'run')} under way."
    )
    return "\n\n".join([coverage, *([study_tables(database)] if complete else []), by_epoch(runs)])


def number_of_cells() -> int:
    return len({(*row, s) for table in tables().values() for row, line in table.rows.items() for s in line})


def by_epoch(runs: list[tuple[RunRecord, list[EpochMetrics]]]) -> str:
    """Return a table with one row per run: the paper's figure, and the accuracy after some epochs."""
    lines = [
        ["run", "device", "paper", *(f"epoch {epoch}" for epoch in EPOCHS), "epochs"],
        ["---", "---", *["---:"] * (len(EPOCHS) + 2)],
        *(_row(run, measured) for run, measured in runs),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(run: RunRecord, measured: list[EpochMetrics]) -> list[str]:
    config = run.config
    accuracy = {e.epoch: e.accuracy for e in measured}
    published = cell(config.data.name, config.negatives, config.schedule)
    paper = "" if published is None else "-" if published[1] is None else f"{published[1]:g}"
    values = ["" if (value := accuracy.get(epoch)) is None else f"{value:.1f}" for epoch in EPOCHS]
    return [f"{' '.join(_place(run))}, seed {config.seed}", config.device, paper, *values, str(run.epochs_done)]


def _place(run: RunRecord) -> tuple[str, str, str]:
    config = run.config
    return config.data.name, config.negatives, str(config.schedule)


if __name__ == "__main__":
    main()
