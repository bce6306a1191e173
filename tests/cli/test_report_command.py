"""`ff report` over a real database."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from ffcli.cli.report import report
from ffcli.config import DataRef
from ffcli.errors import BadOption
from ffcli.options import parse_options, resolve
from ffcli.records import EpochMetrics
from ffcli.store.claims import claim, finish, record_epoch
from ffcli.store.database import Store, open_store
from ffcli.store.liveness import this_process

app = typer.Typer()
app.command()(report)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "ffcli.db"
    with open_store(path) as store:
        store_run(store, (40.0, 70.0, 60.0), epochs=3, neg="masks", dataset="fashion", pos_phase=16)
        store_run(store, (40.0, 80.0), epochs=2, neg="masks", dataset="fashion", pos_phase=16, seed=1, tags=("night",))
        store_run(store, (90.0,), epochs=1, preset="paper", unseparated=True)
        store_run(store, (55.0,), epochs=1, source="sample")
    return path


def store_run(
    store: Store, accuracies: tuple[float, ...], *, source: Any = "full", tags: tuple[str, ...] = (), **options: Any
) -> None:
    asked = parse_options(options)
    data = DataRef(
        name=asked.dataset, source=source, fingerprint=(asked.dataset + source).encode().hex().ljust(64, "0"),
        features=784, classes=10, train=60_000, test=10_000, largest_class=10.0,
    )  # fmt: skip
    config = resolve(asked, data, uses_masks=asked.neg == "masks")
    mine = claim(store, config, owner=this_process(), tags=tags)
    for epoch, accuracy in enumerate((10.0, *accuracies)):
        metrics = EpochMetrics(epoch, 118 * epoch, None, accuracy, None, None, None, None, None, None, seconds=1.0)
        record_epoch(store, mine, metrics)
    finish(store, mine)


def run(*arguments: str, db: Path, width: int = 120) -> Result:
    return CliRunner().invoke(app, ["--db", str(db), *arguments], env={"COLUMNS": str(width)})


def tables(*arguments: str, db: Path) -> list[dict[str, Any]]:
    result = run("--json", *arguments, db=db)
    assert result.exit_code == 0, result.output
    loaded: list[dict[str, Any]] = json.loads(result.stdout)
    return loaded


def cell(table: dict[str, Any], pos_phase: int) -> dict[str, Any]:
    row = next(row for row in table["rows"] if (row["dataset"], row["negatives"]) == ("fashion", "masks"))
    found: dict[str, Any] = next(c for c in row["cells"] if c["pos_phase"] == pos_phase)
    return found


def test_each_protocol_has_its_tables_at_its_own_horizon(database: Path) -> None:
    shown = [(t["table"], t["protocol"]["label"], t["data"], t["epochs"]) for t in tables(db=database)]
    assert shown == [
        (1, "fast@1", "full", 3), (2, "fast@1", "full", 3), (1, "paper@1", "full", 1), (2, "paper@1", "full", 1),
        (1, "fast@1", "sample", 1), (2, "fast@1", "sample", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "mean", "runs"),
    [
        ([], 60.0, 1),
        (["--metric", "best"], 70.0, 1),
        (["--epochs", "2"], 75.0, 2),
        (["--epochs", "2", "--metric", "last5"], 57.5, 2),
        (["--tag", "night"], 80.0, 1),
        (["--preset", "paper"], None, 0),
    ],
)
def test_what_a_cell_shows(database: Path, options: list[str], mean: float | None, runs: int) -> None:
    table = tables("--table", "2", "--data", "full", *options, db=database)[0]
    found = cell(table, 16)
    assert (found["mean"], found["runs"], found["published"]) == (mean, runs, 49.0)


def test_formats(database: Path) -> None:
    assert run("--format", "json", db=database).stdout == run("--json", db=database).stdout
    assert run("--format", "csv", db=database).stdout.startswith("table,protocol,data,metric,epochs,dataset")
    assert "| fashion | masks |" in run("--format", "markdown", db=database).stdout
    assert r"\toprule" in run("--format", "latex", db=database).stdout
    rich = run("--table", "2", "--data", "full", "--preset", "fast", db=database).stdout
    assert "60.0" in rich
    assert "+11.0" in rich
    bare = run("--no-published", "--format", "csv", db=database).stdout
    assert "49.0" not in bare


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--metric", "finl"], ("--metric", "finl", "final", "last5")),
        (["--format", "html"], ("--format", "html", "markdown")),
        (["--table", "3"], ("--table", "3", "all")),
        (["--epochs", "0"], ("--epochs",)),
        (["--data", "half"], ("--data", "half", "sample")),
    ],
)
def test_wrong_values_are_named(database: Path, arguments: list[str], words: tuple[str, ...]) -> None:
    result = run(*arguments, db=database)
    assert result.exit_code == 2
    assert all(word in " ".join(result.stderr.split()) for word in words)
    assert result.stdout == ""


def test_an_unknown_preset_is_named(database: Path) -> None:
    result = run("--preset", "fats", db=database)
    assert isinstance(result.exception, BadOption)
    assert "did you mean 'fast'" in str(result.exception)


def test_importing_the_command_loads_typer_alone_and_running_it_no_torch(database: Path) -> None:
    code = f"""
import sys, ffcli.cli.report
heavy = {{"torch", "sqlalchemy", "pydantic", "rich.table", "alembic", "numpy"}}
import typer
loaded = heavy & set(sys.modules)
assert not loaded - {{"rich.table"}}, loaded
app = typer.Typer()
app.command()(ffcli.cli.report.report)
app(["--db", {str(database)!r}, "--format", "csv"], standalone_mode=False)
assert not {{"torch", "alembic"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("table,")
