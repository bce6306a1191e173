"""`ff report` over a real database."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ff import FF

from ffcli.config import DataRef
from ffcli.planning import resolve
from ffcli.records import EpochMetrics
from ffcli.settings import parse
from ffcli.store.claims import claim, finish, record_epoch
from ffcli.store.database import Store, open_store
from ffcli.store.liveness import this_process

if TYPE_CHECKING:
    from inside import Inside

pytest_plugins = ["inside"]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> Inside:
    """Return `ff` with a few stored runs; tests only read them."""
    from inside import Inside

    ff = FF(tmp_path_factory.mktemp("store"), data_folder)
    with open_store(ff.db) as store:
        store_run(store, (40.0, 70.0, 60.0), epochs=3, neg="masks", dataset="fashion", pos_phase=16)
        store_run(store, (40.0, 80.0), epochs=2, neg="masks", dataset="fashion", pos_phase=16, seed=1, tags=("night",))
        store_run(store, (90.0,), epochs=1, preset="paper", unseparated=True)
        store_run(store, (55.0,), epochs=1, source="sample")
    return Inside(ff)


def store_run(
    store: Store,
    accuracies: tuple[float | None, ...],
    *,
    source: Any = "full",
    tags: tuple[str, ...] = (),
    **options: Any,
) -> None:
    asked = parse(options)
    data = DataRef(
        name=asked.dataset, source=source, fingerprint=(asked.dataset + source).encode().hex().ljust(64, "0"),
        features=784, classes=10, train=60_000, test=10_000, largest_class=10.0,
    )  # fmt: skip
    config = resolve(asked, data)
    mine = claim(store, config, owner=this_process(), name=asked.name, tags=tags)
    for epoch, accuracy in enumerate((10.0, *accuracies)):
        metrics = EpochMetrics(epoch, 118 * epoch, None, accuracy, None, None, None, None, None, None, seconds=1.0)
        record_epoch(store, mine, metrics)
    finish(store, mine)


def test_each_protocol_has_tables_at_its_own_horizon(stored: Inside) -> None:
    shown = [(t["table"], t["protocol"]["label"], t["data"], t["epochs"]) for t in stored.json("report")]
    assert shown == [
        (2, "fast@1", "full", 3), (1, "paper@1", "full", 1), (1, "fast@1", "sample", 1),
    ]  # fmt: skip
    assert [len(table["rows"]) for table in stored.json("report")] == [1, 1, 1]
    assert [len(table["rows"]) for table in stored.json("report", "--all")] == [4] * 6


def test_tables_are_read_after_an_epoch_that_was_evaluated(tmp_path: Path, data_folder: Path) -> None:
    from inside import Inside

    ff = FF(tmp_path, data_folder)
    with open_store(ff.db) as store:
        store_run(store, (None, 70.0, None), epochs=9)
        store_run(store, (None, 72.0), epochs=9, seed=1)
    (table,) = Inside(ff).json("report")
    assert (table["epochs"], table["rows"][0]["cells"][0]["mean"]) == (2, 71.0)


def test_filters(stored: Inside) -> None:
    def found(*options: str) -> list[tuple[str, str, str]]:
        tables = stored.json("report", *options)
        return [(t["protocol"]["label"], r["dataset"], r["negatives"]) for t in tables for r in t["rows"]]

    assert found("--dataset", "fashion") == found("--neg", "masks") == [("fast@1", "fashion", "masks")]
    assert found("--protocol", "paper") == found("--protocol", "paper@1") == [("paper@1", "mnist", "label")]
    assert len(found("--cure", "none")) == 3
    assert "there are fast@1; paper@1" in stored.refused("report", "--protocol", "nosuch")
    assert stored.refused("report", "--tag", "nosuch") == "ff: no run has tag=nosuch: stored are 'night'"
    assert "no run has tag=nosuch: stored are 'night'" in stored.refused("list-runs", "--tag", "nosuch")
    for options in (["--neg", "masks", "--data", "sample"], ["--cure", "replay"], ["--preset", "scaled"]):
        out, err = stored("report", *options)
        assert not out.strip()
        assert len(err.splitlines()) == 1
        assert err.startswith("no run ")
        assert stored.json("report", *options) == []


@pytest.mark.parametrize(
    ("options", "mean", "runs"),
    [
        ([], 60.0, 1),
        (["--metric", "best"], 70.0, 1),
        (["--epochs", "2"], 75.0, 2),
        (["--epochs", "2", "--metric", "last5"], 57.5, 2),
        (["--tag", "night"], 80.0, 1),
        (["--preset", "paper", "--all"], None, 0),
    ],
)
def test_content_of_a_cell(stored: Inside, options: list[str], mean: float | None, runs: int) -> None:
    table = stored.json("report", "--table", "2", "--data", "full", *options)[0]
    row = next(row for row in table["rows"] if (row["dataset"], row["negatives"]) == ("fashion", "masks"))
    cell = next(c for c in row["cells"] if c["pos_phase"] == 16)
    assert (cell["mean"], cell["runs"], cell["published"]) == (mean, runs, 49.0)


def test_formats(stored: Inside) -> None:
    def printed(*arguments: str) -> str:
        return stored("report", *arguments)[0]

    assert printed("--format", "json") == printed("--json")
    assert printed("--format", "csv").startswith("table,protocol,data,metric,epochs,dataset")
    assert "| fashion | masks |" in printed("--format", "markdown")
    assert r"\toprule" in printed("--format", "latex")
    rich = printed("--table", "2", "--data", "full", "--preset", "fast")
    assert "60.0" in rich
    assert "+11.0" in rich
    assert "49.0" not in printed("--no-published", "--format", "csv")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--metric", "finl"), ("--format", "html"), ("--table", "3"), ("--epochs", "0"), ("--data", "half")],
)
def test_wrong_values_are_explained(stored: Inside, option: str, value: str) -> None:
    line = stored.refused("report", option, value)
    assert option in line
    assert value in line or value == "0"  # some versions of Typer do not repeat a number


def test_unknown_preset_is_explained(stored: Inside) -> None:
    assert "did you mean 'fast'" in stored.refused("report", "--preset", "fats")


def test_report_loads_no_torch_and_its_import_no_heavy_library(stored: Inside) -> None:
    code = f"""
import sys, typer, ffcli.cli.report, ffcli.cli.plot, ffcli.cli.bench
heavy = {{"torch", "sqlalchemy", "pydantic", "alembic", "numpy", "matplotlib", "ffcli.report.terminal"}}
assert not heavy & set(sys.modules)
app = typer.Typer()
app.command()(ffcli.cli.report.report)
app(["--db", {str(stored.ff.db)!r}, "--format", "csv"], standalone_mode=False)
assert not {{"torch", "alembic", "scipy", "ffcli.report.terminal"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("table,")


def test_off_a_terminal_every_row_is_one_uncut_line(tmp_path: Path, data_folder: Path) -> None:
    name, tag = "a long name " * 12, "tag-" * 30
    ff = FF(tmp_path, data_folder)
    with open_store(ff.db) as store:
        store_run(store, (40.0, 70.0), epochs=2, pos_phase=16, seed=1, threshold=2.0, tags=(tag,), name=name.strip())
        store_run(store, (40.0, 80.0), epochs=2, pos_phase=16, neg="masks")
    environment = {key: value for key, value in ff.environment.items() if key != "COLUMNS"}

    def lines(*arguments: str, columns: int | None = None) -> list[str]:
        given = environment | ({"COLUMNS": str(columns)} if columns else {})
        done = subprocess.run(ff.command(*arguments), env=given, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    listed = lines("list-runs")
    assert len(listed) == 3
    assert any(f"{name.strip()} #{tag}" in line for line in listed)
    assert any(line.startswith("mnist  masks ") and "80.0" in line for line in lines("report", "--table", "2"))
    for columns in (100, 120, 200):
        shown = lines("list-runs", columns=columns)
        assert len(shown) == 3
        assert max(map(len, shown)) <= columns
        assert all("16:1 " in line and "2/2" in line for line in shown[1:])
