"""`ff compare` over a real database."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from ff import FF
from test_report_command import store_run
from typer.testing import CliRunner, Result

from ffcli.cli.compare import compare
from ffcli.errors import BadOption
from ffcli.store.database import open_store

app = typer.Typer()
app.command()(compare)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "ffcli.db"
    with open_store(path) as store:
        for seed in (0, 1, 2):
            store_run(store, (30.0, 20.0 + seed), epochs=2, pos_phase=16, seed=seed, tags=("baseline",))
            store_run(store, (30.0, 60.0 + 2 * seed), epochs=2, pos_phase=16, seed=seed, neg="masks")
        store_run(store, (80.0, 90.0), epochs=2, seed=0)
        store_run(store, (81.0, 80.0), epochs=2, seed=0, neg="masks")
        store_run(store, (70.0, 60.0), epochs=2, seed=0, dataset="fashion")
        store_run(store, (50.0, 55.0), epochs=2, pos_phase=16, seed=1, threshold=2.0, tags=("cured",))
    return path


def run(*arguments: str, db: Path, width: int = 120) -> Result:
    return CliRunner().invoke(app, ["--db", str(db), *arguments], env={"COLUMNS": str(width)})


def compared(*arguments: str, db: Path) -> dict[str, Any]:
    result = run("--json", *arguments, db=db)
    assert result.exit_code == 0, result.output
    loaded: dict[str, Any] = json.loads(result.stdout)
    return loaded


def test_json(database: Path) -> None:
    found = compared("neg=label", "neg=masks", db=database)
    (comparison,) = found.pop("comparisons")
    assert found == {"a": "neg=label", "b": "neg=masks", "only": [], "unpaired_a": 2, "unpaired_b": 0, "in_both": 0}
    one, sixteen = comparison.pop("cells")
    overall = comparison.pop("overall")
    assert comparison == {
        "protocol": "fast@1", "data": "full", "metric": "final", "epochs": 2, "left_out": 0,
        "differing": {"neg": {"a": ["label"], "b": ["masks"]}},
    }  # fmt: skip
    assert sixteen == {
        "dataset": "mnist", "fingerprint": one["fingerprint"], "negatives": None, "pos_phase": 16, "neg_phase": 1,
        "seeds": [0, 1, 2], "learned": True, "pairs": 3, "mean_a": 21.0, "mean_b": 62.0, "difference": 41.0,
        "interval": [40.0, 42.0], "better": "b",
    }  # fmt: skip
    assert (one["pos_phase"], one["difference"], one["interval"], one["better"]) == (1, -10.0, None, None)
    assert overall.keys() == {"pairs", "mean_a", "mean_b", "difference", "interval", "better"}
    assert (overall["pairs"], overall["difference"]) == (4, 28.25)


@pytest.mark.parametrize(
    ("arguments", "difference"),
    [
        (("neg=label", "neg=masks", "--only", "pos_phase=16"), 41.0),
        (("neg=masks", "neg=label", "--only", "pos_phase=16", "--only", "seed=0"), -40.0),
        (("neg=label", "neg=masks", "--epochs", "1"), 0.25),
        (("neg=label", "neg=masks", "--metric", "best"), (30 + 31 + 32 + 3 * 1 - 9) / 4),
        (("tag=baseline", "tag=cured"), 34.0),
        (("threshold=1.5,neg=label", "threshold=2"), 34.0),
        (("dataset=mnist", "dataset=fashion"), -30.0),
    ],
)
def test_what_is_compared(database: Path, arguments: tuple[str, ...], difference: float) -> None:
    (comparison,) = compared(*arguments, db=database)["comparisons"]
    assert comparison["overall"]["difference"] == pytest.approx(difference)


def test_the_table(database: Path) -> None:
    text = run("neg=label", "neg=masks", db=database, width=100).stdout
    assert text.startswith("a: neg=label\nb: neg=masks\nfast@1 · full data · final test accuracy in % after 2 epochs")
    lines = {line.split()[0]: line.split() for line in text.splitlines() if ":1 " in line}
    assert lines["1:1"] == ["1:1", "90.0", "80.0", "-10.0", "none:", "one", "pair", "1"]
    assert lines["16:1"] == ["16:1", "21.0", "62.0", "+41.0", "+40.0", "to", "+42.0", "3", "neg=masks"]
    assert re.search(r"Overall 38\.2 and 66\.5: b - a \+28\.2, 95 % interval \S+ to \S+ over 4 pairs", text)
    assert "neg=label better in 0, neg=masks in 1 of 1 cell with two pairs or more" in text
    assert "fewer than 6 pairs are too narrow" in text
    assert "runs without a partner: 2 of a, 0 of b" in text
    tags = run("tag=baseline", "tag=cured", "--only", "seed=1", db=database).stdout
    assert tags.startswith("a: tag=baseline\nb: tag=cured\nonly: seed=1\n")
    assert "too narrow" not in tags, "there is no interval"
    assert "partners also differ in threshold 1.5 | 2.0" in tags


@pytest.mark.parametrize("width", [200, 80, 60, 40])
def test_no_number_is_cut_at_any_width(database: Path, width: int) -> None:
    text = run("neg=label", "neg=masks", db=database, width=width).stdout
    assert max(map(len, text.splitlines())) <= width
    assert "+41.0  +40.0 to +42.0" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["neg=lable", "neg=masks"], "did you mean 'label'"),
        (["label", "masks"], "give NAME=VALUE"),
        (["neg=label", "neg=label"], "both sides"),
        (["neg=label", "neg=masks", "--only", "seed=7"], "no run has seed=7: stored are 0, 1, 2"),
        (["seed=0,pos_phase=1", "seed=1,pos_phase=1"], "no run with seed=1 has pos_phase=1"),
    ],
)
def test_refusals(database: Path, arguments: list[str], said: str) -> None:
    result = run(*arguments, db=database)
    assert isinstance(result.exception, BadOption)
    assert said in str(result.exception)
    assert result.stdout == ""


def test_a_mistake_is_one_line_and_exit_code_2(ff: FF) -> None:
    open_store(ff.db).close()
    done = ff("compare", "neg=label", "neg=masks", code=2)
    assert done.stdout == ""
    assert done.stderr == "ff: there are no runs yet: `ff train` makes one\n"


def test_it_never_loads_torch_and_scipy_only_for_an_interval(database: Path) -> None:
    code = f"""
import sys, ffcli.cli.compare
assert not {{"sqlalchemy", "pydantic", "numpy"}} & set(sys.modules)
import typer
app = typer.Typer()
app.command()(ffcli.cli.compare.compare)
app(["--db", {str(database)!r}, "tag=baseline", "tag=cured"], standalone_mode=False)
assert not {{"torch", "alembic", "scipy"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "none: one pair" in done.stdout
