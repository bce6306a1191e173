"""`ff export`: exported data equals the stored data."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from ffcli.cli.export import export
from ffcli.config import DataRef
from ffcli.errors import BadOption, MissingPackage
from ffcli.planning import resolve
from ffcli.records import EpochMetrics, epoch_json, run_json
from ffcli.settings import parse
from ffcli.store import runs
from ffcli.store.claims import claim, finish, record_epoch
from ffcli.store.database import Store, open_store
from ffcli.store.liveness import this_process
from ffcli.store.runs import Filters

app = typer.Typer()
app.command()(export)

THIRD = 1 / 3
EPOCH = EpochMetrics(
    epoch=1, hour=118, phase="negative", accuracy=100 * THIRD, validation_accuracy=None, loss_positive=1e-17,
    loss_negative=0.1 + 0.2, goodness_positive=(THIRD, 2.0), goodness_negative=(5e-324, 1.7976931348623157e308),
    dead_units=(0.0, 1.0), seconds=1.25,
)  # fmt: skip


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a database of four runs (one superseded, one without epochs) of two and of three layers."""
    path = tmp_path_factory.mktemp("store") / "ffcli.db"
    with open_store(path) as store:
        train(
            store, [EPOCH, replace(EPOCH, epoch=2, goodness_positive=(math.inf, 0.5))], tags=("a", "b,c"), hidden=(3, 2)
        )
        train(
            store,
            [replace(EPOCH, accuracy=None, goodness_positive=None, goodness_negative=None, dead_units=None)],
            dataset="fashion",
            neg="masks",
        )
        train(store, [], preset="paper", unseparated=True)
        train(store, [EPOCH], hidden=(3, 2), force=True)
    return path


def train(store: Store, epochs: list[EpochMetrics], *, tags: Any = (), force: bool = False, **options: Any) -> None:
    asked = parse(options)
    data = DataRef(
        name=asked.dataset, source="sample", fingerprint="f" * 64, features=784, classes=10, train=10_000, test=2_000,
        largest_class=10.0, path="/home/somebody/data.npz",
    )  # fmt: skip
    config = resolve(asked, data)
    mine = claim(store, config, owner=this_process(), tags=tags, force=force, name='=so "called",\n')
    for epoch in epochs:
        record_epoch(store, mine, epoch)
    finish(store, mine)


def run(*arguments: str | Path, db: Path) -> Result:
    return CliRunner().invoke(app, ["--db", str(db), *map(str, arguments)])


def rows(*arguments: str | Path, db: Path) -> list[dict[str, str]]:
    result = run(*arguments, db=db)
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.stdout)))


def test_csv_has_one_row_per_epoch_with_exact_floats(database: Path) -> None:
    found = rows("--all", db=database)
    assert [(row["dataset"], row["epoch"], row["status"]) for row in found] == [
        ("mnist", "1", "superseded"), ("mnist", "2", "superseded"), ("fashion", "1", "completed"),
        ("mnist", "1", "completed"),
    ]  # fmt: skip
    assert list(found[0])[-17:] == [
        "epoch", "hour", "phase", "accuracy", "validation_accuracy", "loss_positive", "loss_negative",
        "goodness_positive_1", "goodness_positive_2", "goodness_positive_3", "goodness_negative_1",
        "goodness_negative_2", "goodness_negative_3", "dead_units_1", "dead_units_2", "dead_units_3", "seconds",
    ]  # fmt: skip
    with open_store(database) as store:
        stored = [(r, runs.epochs(store, r.id)) for r in runs.list_runs(store, Filters(include_superseded=True))]
    by_id = {record.id: (record, epochs) for record, epochs in stored}
    for row in found:
        record, epochs = by_id[row["id"]]
        epoch = next(e for e in epochs if e.epoch == int(row["epoch"]))
        config = record.config
        assert (row["key"], int(row["seed"]), row["negatives"]) == (record.key, config.seed, config.negatives)
        assert (row["data_source"], row["preset"], row["name"]) == ("sample", config.preset, '\'=so "called",\\n')
        assert (int(row["pos_phase"]), int(row["neg_phase"])) == (config.schedule.positive, config.schedule.negative)
        assert tuple(map(int, row["hidden"].split(","))) == config.hidden
        for name in ("lr", "lr_positive", "lr_negative", "threshold"):
            assert float(row[name]) == getattr(config, name)
        assert int(row["updates_per_batch"]) == config.updates_per_batch
        for name in ("accuracy", "validation_accuracy", "loss_positive", "loss_negative", "seconds"):
            assert number(row[name]) == getattr(epoch, name)
        for name in ("goodness_positive", "goodness_negative", "dead_units"):
            written = [number(row[f"{name}_{layer}"]) for layer in (1, 2, 3)]
            known = list(getattr(epoch, name) or ())
            assert written == known + [None] * (3 - len(known))
    assert "/home/" not in run("--all", db=database).stdout


def number(text: str) -> float | None:
    return float(text) if text else None


def test_json_has_the_same_names_as_show(database: Path) -> None:
    result = run("--json", db=database)
    assert result.stdout == run("--format", "json", db=database).stdout
    shown = json.loads(result.stdout)
    with open_store(database) as store:
        stored = [(r, runs.epochs(store, r.id)) for r in runs.list_runs(store, Filters(sort="oldest"))]
    expected = [
        run_json(record) | {"epochs": [epoch_json(e) for e in epochs], "trace": []} for record, epochs in stored
    ]
    assert shown == json.loads(json.dumps(expected))
    everything = json.loads(run("--json", "--all", db=database).stdout)
    assert everything[0]["epochs"][1]["goodness_positive"] == [None, 0.5]
    assert "Infinity" not in run("--json", "--all", db=database).stdout


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--dataset", "fashion"], ["fashion"]),
        (["--neg", "label"], ["mnist", "mnist"]),
        (["--preset", "paper"], ["mnist"]),
        (["--tag", "b,c", "--all"], ["mnist"]),
        (["--tag", "b"], []),
        (["--cure", "replay"], []),
        (["--cure", "none", "--neg", "label"], ["mnist", "mnist"]),
    ],
)
def test_filters(database: Path, options: list[str], found: list[str]) -> None:
    assert [run["config"]["dataset"] for run in json.loads(run("--json", *options, db=database).stdout)] == found


def test_an_empty_database_exports_a_header_or_an_empty_list(tmp_path: Path) -> None:
    open_store(empty := tmp_path / "empty.db").close()
    assert run(db=empty).stdout.startswith("id,key,status,")
    assert json.loads(run("--json", db=empty).stdout) == []


def test_output_file_is_replaced_as_a_whole(database: Path, tmp_path: Path) -> None:
    target = tmp_path / "study.csv"
    target.write_text("what was there")
    result = run("--output", target, db=database)
    assert result.stdout == ""
    assert target.read_text() == run(db=database).stdout
    assert list(tmp_path.iterdir()) == [target]


def test_name_of_the_file_chooses_the_format(database: Path, tmp_path: Path) -> None:
    run("--output", tmp_path / "runs.JSON", db=database)
    assert (tmp_path / "runs.JSON").read_text() == run("--format", "json", db=database).stdout
    run("--output", tmp_path / "runs.txt", "--format", "json", db=database)
    assert (tmp_path / "runs.txt").read_text() == (tmp_path / "runs.JSON").read_text()
    for arguments, message in (
        (("--output", tmp_path / "runs.csv", "--format", "json"), "contradict each other: name the file .json"),
        (("--output", tmp_path / "runs"), "name the file .csv, .json or .parquet, or give --format"),
        (("--format", "parquet"), "needs --output"),
    ):
        assert message in str(run(*arguments, db=database).exception)
    assert not (tmp_path / "runs.csv").exists()


def test_parquet_has_the_rows_of_csv_with_types(database: Path, tmp_path: Path) -> None:
    path = tmp_path / "runs.parquet"
    result = run("--output", path, db=database)
    if find_spec("pyarrow") is None:
        assert isinstance(result.exception, MissingPackage)
        assert not list(tmp_path.iterdir())
        return
    from pyarrow.parquet import ParquetFile

    file = ParquetFile(path)
    assert file.num_row_groups == 1
    table = file.read()
    header, *rows = csv.reader(io.StringIO(run(db=database).stdout))
    assert table.column_names == header
    assert table.column("seed").to_pylist() == [int(row[header.index("seed")]) for row in rows]
    accuracies = ["" if value is None else str(value) for value in table.column("accuracy").to_pylist()]
    assert accuracies == [row[header.index("accuracy")] for row in rows]


def test_unwritable_output_is_refused_and_changes_nothing(database: Path, tmp_path: Path) -> None:
    before = database.read_bytes()
    for output, message in (
        (database, "is the database"),
        (tmp_path, "is not a file"),
        (tmp_path / "no" / "x.csv", "is not a folder"),
    ):
        result = run("--output", output, db=database)
        assert isinstance(result.exception, BadOption)
        assert message in str(result.exception)
    assert database.read_bytes() == before
    assert list(tmp_path.iterdir()) == []
