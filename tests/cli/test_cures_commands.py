"""`ff report --table cures` and `ff plot cures` over runs trained here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ff import FF, SMALL

if TYPE_CHECKING:
    from inside import Inside

pytest_plugins = ["inside"]

CELL = (*SMALL, "--pos-phase", "16", "--balanced", "--epochs", "2", "--quiet")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> Inside:
    """Train two cured and two plain runs; tests only read them."""
    from inside import Inside

    ff = Inside(FF(tmp_path_factory.mktemp("cures"), data_folder))
    ff("train", *CELL, "--cure", "gradient-memory")
    ff("train", *CELL, "--cure", "replay:64")
    ff("train", *CELL, "--lr", "auto")
    ff("train", *CELL)
    return ff


def test_table_has_every_line_and_the_costs(trained: Inside) -> None:
    (table,) = trained.json("report", "--table", "cures")
    lines = {line["line"]: line["cells"][0] for line in table["rows"][0]["lines"]}
    assert {name: (cell["runs"], cell["lr"], cell["epochs"]) for name, cell in lines.items()} == {
        "plain": (1, 0.05, 2),
        "same rate": (1, 0.01, 2),
        "gradient-memory": (1, 0.01, 2),
        "replay:64": (1, 0.04, 2),
    }
    gradient, replay = table["costs"]
    assert (gradient["memory"], replay["memory"]) == (2 * (785 * 30 + 31 * 20) * 4, 2 * 64 * (784 + 30) * 4)
    assert min(gradient["time"], replay["time"]) > 0
    for form in ("rich", "markdown", "csv", "latex"):
        assert "gradient-memory" in trained("report", "--table", "cures", "--format", form)[0]
    assert trained.json("report", "--table", "cures", "--data", "full") == []
    assert (
        trained.json("report", "--table", "cures", "--no-published")[0]["rows"][0]["lines"][0]["cells"][0]["published"]
        is None
    )


def test_tables_1_and_2_point_to_the_table_of_cures(trained: Inside) -> None:
    out, err = trained("report")
    assert "custom" not in out + err
    assert err.strip() == (
        "3 runs (cured, or plain at a cure's rate) not in these tables: `ff report --table cures` shows them"
    )
    assert [table["protocol"]["label"] for table in trained.json("report")] == ["fast@1 with hidden 30,20"]


@pytest.mark.parametrize(("name", "begins"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml")])
def test_plot_is_written(trained: Inside, tmp_path: Path, name: str, begins: bytes) -> None:
    found = trained.json("plot", "cures", "--output", str(tmp_path / name))
    assert (tmp_path / name).read_bytes().startswith(begins)
    assert found["files"] == [str(tmp_path / name)]
    assert found["table"]["table"] == "cures"


def test_a_picture_that_cannot_be_written_is_reported(trained: Inside) -> None:
    assert "--output /proc/a.png cannot be written: " in trained.refused("plot", "cures", "--output", "/proc/a.png")


def test_a_warm_up_longer_than_the_run_gives_a_notice(inside: Inside) -> None:
    for hours, reported in ((40, False), (41, True)):
        _, err = inside("train", *CELL, "--warmup", str(hours), "--dry-run")
        assert (f"the run has 40 hours, --warmup is {hours}" in err) == reported


def test_bad_plot_requests_are_refused_in_one_line(inside: Inside, tmp_path: Path) -> None:
    inside("train", *CELL)
    assert "the name must end in" in inside.refused("plot", "cures", "--output", "a.gif")
    assert "no folder" in inside.refused("plot", "cures", "--output", str(tmp_path / "none" / "a.png"))
    assert "no cured runs" in inside.refused("plot", "cures", "--output", str(tmp_path / "a.png"))
