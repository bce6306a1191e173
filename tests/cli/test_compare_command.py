"""`ff compare` over a real database."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ff import FF
from test_report_command import store_run

from ffcli.store.database import open_store

if TYPE_CHECKING:
    from inside import Inside

pytest_plugins = ["inside"]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> Inside:
    """Return `ff` with a few stored runs; tests only read them."""
    from inside import Inside

    ff = FF(tmp_path_factory.mktemp("store"), data_folder)
    with open_store(ff.db) as store:
        for seed in (0, 1, 2):
            store_run(store, (30.0, 20.0 + seed), epochs=2, pos_phase=16, seed=seed, tags=("baseline",))
            store_run(store, (30.0, 60.0 + 2 * seed), epochs=2, pos_phase=16, seed=seed, neg="masks")
        store_run(store, (80.0, 90.0), epochs=2, seed=0)
        store_run(store, (81.0, 80.0), epochs=2, seed=0, neg="masks")
        store_run(store, (70.0, 60.0), epochs=2, seed=0, dataset="fashion")
        store_run(store, (50.0, 55.0), epochs=2, pos_phase=16, seed=1, threshold=2.0, tags=("cured",))
    return Inside(ff)


def test_json(stored: Inside) -> None:
    found = stored.json("compare", "neg=label", "neg=masks")
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
        (("neg=masks", "neg=label", "--only", "pos_phase=16", "--only", "seed=0"), -40.0),
        (("neg=label", "neg=masks", "--epochs", "1"), 0.25),
        (("neg=label", "neg=masks", "--metric", "best"), (30 + 31 + 32 + 3 * 1 - 9) / 4),
        (("tag=baseline", "tag=cured"), 34.0),
        (("threshold=1.5,neg=label", "threshold=2"), 34.0),
        (("dataset=mnist", "dataset=fashion"), -30.0),
    ],
)
def test_selection_of_runs(stored: Inside, arguments: tuple[str, ...], difference: float) -> None:
    (comparison,) = stored.json("compare", *arguments)["comparisons"]
    assert comparison["overall"]["difference"] == pytest.approx(difference)


def test_table_output(stored: Inside) -> None:
    text, _ = stored("compare", "neg=label", "neg=masks")
    assert text.startswith("a: neg=label\nb: neg=masks\nfast@1 · full data · final test accuracy in % after 2 epochs")
    lines = {line.split()[0]: line.split() for line in text.splitlines() if ":1 " in line}
    assert lines["1:1"] == ["1:1", "90.0", "80.0", "-10.0", "none:", "one", "pair", "1"]
    assert lines["16:1"] == ["16:1", "21.0", "62.0", "+41.0", "+40.0", "to", "+42.0", "3", "neg=masks"]
    assert re.search(r"Overall 38\.2 and 66\.5: b - a \+28\.2, 95 % interval \S+ to \S+ over 4 pairs", text)
    assert "neg=label better in 0, neg=masks in 1 of 1 cell with two pairs or more" in text
    assert "fewer than 6 pairs are too narrow" in text
    assert "runs without a partner: 2 of a, 0 of b" in text
    tags, _ = stored("compare", "tag=baseline", "tag=cured", "--only", "seed=1")
    assert tags.startswith("a: tag=baseline\nb: tag=cured\nonly: seed=1\n")
    assert "too narrow" not in tags, "there is no interval"
    assert "partners also differ in threshold 1.5 | 2.0" in tags


@pytest.mark.parametrize("width", ["200", "60", "40"])
def test_numbers_are_never_cut_at_any_width(stored: Inside, width: str) -> None:
    text, _ = stored("compare", "neg=label", "neg=masks", env={"COLUMNS": width})
    assert max(map(len, text.splitlines())) <= int(width)
    assert "+41.0  +40.0 to +42.0" in text


def test_two_runs_are_compared_in_settings_and_accuracies(stored: Inside) -> None:
    ids = {(r.config.negatives, r.config.seed): r.id for r in stored.ff.runs() if r.config.schedule.positive == 16}
    ids["label", 1] = next(r.id for r in stored.ff.runs() if r.tags == ("baseline",) and r.config.seed == 1)
    a, b = ids["label", 1], ids["masks", 2]
    found = stored.json("compare", a[:8], b[:8])
    assert found == {
        "a": a, "b": b, "epochs": 2,
        "differing": {"neg": {"a": "label", "b": "masks"}, "mask_blur": {"a": None, "b": 5}, "seed": {"a": 1, "b": 2}},
        "final": {"a": 21.0, "b": 64.0, "difference": 43.0}, "best": {"a": 30.0, "b": 64.0, "difference": 34.0},
    }  # fmt: skip
    text, _ = stored("compare", a[:8], "last", "--epochs", "1")
    assert re.search(r"threshold +1\.5 +2\n", text)
    assert re.search(r"after 1 epoch +30\.00 +50\.00 +\+20\.00", text)
    assert "are the same run" in stored.refused("compare", "last", "last")
    assert "there is no run 'nosuch'" in stored.refused("compare", "last", "nosuch")
    assert "'last' selects nothing" in stored.refused("compare", "last", "neg=masks")


def test_bad_selections_are_explained_in_one_line(stored: Inside, inside: Inside) -> None:
    line = stored.refused("compare", "neg=label", "neg=masks", "--only", "seed=7")
    assert "no run has seed=7: stored are 0, 1, 2" in line
    open_store(inside.ff.db).close()
    assert inside.refused("compare", "neg=label", "neg=masks") == "ff: there are no runs yet: `ff train` makes one"


def test_compare_loads_scipy_only_for_an_interval_and_never_torch(stored: Inside) -> None:
    code = f"""
import sys, ffcli.cli.compare
assert not {{"sqlalchemy", "pydantic", "numpy"}} & set(sys.modules)
import typer
app = typer.Typer()
app.command()(ffcli.cli.compare.compare)
app(["--db", {str(stored.ff.db)!r}, "tag=baseline", "tag=cured"], standalone_mode=False)
assert not {{"torch", "alembic", "scipy"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "none: one pair" in done.stdout
