"""The README and the pages have the tables of the stored results."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from ffcli.config import DEFAULT_PRESET
from ffcli.published import tables
from ffcli.store.database import open_store
from ffcli.store.runs import Filters, epochs, list_runs

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
sys.path.insert(0, str(ROOT / "tools"))

import choose_preset  # noqa: E402
import choose_updates  # noqa: E402
import write_reproduction  # noqa: E402
import write_scaling  # noqa: E402
from write_study import study_tables, written  # noqa: E402


@pytest.mark.parametrize(
    ("page", "database", "table"),
    [
        ("README.md", "scaled.db", "2"),
        ("docs/study.md", "study.db", "all"),
        ("docs/reproduction.md", "cifar10.db", "1"),
    ],
)
def test_pages_have_the_tables_of_the_study(page: str, database: str, table: str, tmp_path: Path) -> None:
    copy = Path(shutil.copy(RESULTS / database, tmp_path))
    assert written((ROOT / page).read_text(encoding="utf-8")) == study_tables(copy, table)


def test_study_is_complete_and_its_csv_agrees(tmp_path: Path) -> None:
    database = Path(shutil.copy(RESULTS / "study.db", tmp_path))
    with open_store(database) as store:
        runs = list_runs(store)
        stored = {(run.id, e.epoch): e.accuracy for run in runs for e in epochs(store, run.id)}
    published = {(*row, s) for table in tables().values() for row, line in table.rows.items() for s in line}
    assert {run.status for run in runs} == {"completed"}
    assert {(run.config.preset, run.config.precision, run.config.data.source) for run in runs} == {
        ("fast@1", "float32", "full")
    }
    for seed in (0, 1, 2):
        of_seed = [run.config for run in runs if run.config.seed == seed]
        assert {(config.data.name, config.negatives, config.schedule) for config in of_seed} == published

    with (RESULTS / "study.csv").open(newline="", encoding="utf-8") as file:
        exported = {(row["id"], int(row["epoch"])): float(row["accuracy"]) for row in csv.DictReader(file)}
    assert exported == stored


def test_cures_page_has_the_table_of_the_stored_runs(tmp_path: Path) -> None:
    database = Path(shutil.copy(RESULTS / "cures.db", tmp_path))
    page = (ROOT / "docs" / "cures.md").read_text(encoding="utf-8")
    assert written(page) == study_tables(database, "cures")

    with open_store(database) as store:
        runs = list_runs(store, Filters(tag="cures"))
        stored = {(run.id, e.epoch): e.accuracy for run in runs for e in epochs(store, run.id) if e.accuracy}
    assert {run.status for run in runs} == {"completed"}
    with (RESULTS / "cures.csv").open(newline="", encoding="utf-8") as file:
        exported = {(row["id"], int(row["epoch"])): row["accuracy"] for row in csv.DictReader(file)}
    assert {place: float(text) for place, text in exported.items() if text} == stored


def test_speed_page_has_the_stored_scaling_measurements() -> None:
    page = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    measured = json.loads((RESULTS / "scaling.json").read_text(encoding="utf-8"))
    assert written(page, write_scaling.TOOL) == write_scaling.scaling_tables(measured)


def test_the_page_on_reproduction_has_the_distances_of_the_calibration_runs() -> None:
    page = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
    table = choose_updates.written_tables(RESULTS / "calibration.db")
    assert written(page, choose_updates.TOOL) == table


def test_the_page_on_reproduction_has_the_candidates_for_the_default_preset() -> None:
    page = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
    measured = choose_preset.read_accuracies(RESULTS / "fast.db")
    assert written(page, choose_preset.TOOL) == choose_preset.table(measured)
    assert choose_preset.chosen(measured) == DEFAULT_PRESET.label


def test_the_page_on_reproduction_has_the_state_of_the_study() -> None:
    page = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
    assert written(page, write_reproduction.TOOL) == write_reproduction.state(
        RESULTS / "scaled.db", RESULTS / "study.db"
    )


@pytest.mark.parametrize("database", sorted((RESULTS).glob("*.db")), ids=lambda path: path.name)
def test_results_contain_no_local_paths(database: Path) -> None:
    assert not re.search(rb"/(home|tmp|work)/", database.read_bytes())
