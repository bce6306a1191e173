"""`ff plot`: each figure shows the stored numbers, and its texts name what it shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ff import FF, SMALL

from ffcli.plots.style import STYLE
from ffcli.store.database import open_store
from ffcli.store.states import weights_path

if TYPE_CHECKING:
    from inside import Inside

pytest_plugins = ["inside"]

BALANCED = ("--balanced", "--pos-phase", "16", "--epochs", "2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> Inside:
    """Train a few small runs; tests only read them."""
    from inside import Inside

    ff = Inside(FF(tmp_path_factory.mktemp("plots"), data_folder))
    ff("train", *SMALL, *BALANCED, "--neg", "label", "--tag", "first", "--quiet")
    ff("train", *SMALL, *BALANCED, "--neg", "label", "--seed", "1", "--tag", "second", "--quiet")
    ff("train", "--hidden", "30,20", "--dataset", "fashion", "--neg", "masks", "--unseparated", "--epochs", "2", "-q")
    deep = ("--hidden", "9,9,9,9,9,9,9", "--tag", "deep")
    ff("train", "--dataset", "mnist", *deep, *BALANCED[:-1], "1", "--trace", "1-2", "--quiet")
    return ff


@pytest.fixture(autouse=True)
def text_in_svg(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write text in SVG files as text, not as outlines."""
    monkeypatch.setitem(STYLE, "svg.fonttype", "none")


def run_of(ff: Inside, *filters: str) -> dict[str, Any]:
    """Return the last of the runs that the filters of `ff list-runs` admit, with its epochs and trace."""
    shown: dict[str, Any] = ff.json("show", ff.json("list-runs", *filters)[-1]["id"])
    return shown


def texts(file: Path) -> list[str]:
    """Return the texts of an SVG file."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", file.read_text(encoding="utf-8"))


def test_curves_show_every_epoch_by_layer(trained: Inside, tmp_path: Path) -> None:
    run, file = run_of(trained, "--tag", "first"), tmp_path / "curves.svg"
    found = trained.json("plot", "curves", run["id"], "-o", str(file))
    assert found["runs"] == [{"id": run["id"], "epochs": run["epochs"]}]
    shown = texts(file)
    assert "mnist (sample), label, 16:16, fast@1 with hidden 30,20, seed 0" in shown
    assert f"epoch 2 of run {run['id'][:7]}" in shown
    for text in ("layer 1", "layer 2", "goodness", "dead units", "threshold", "positive phase", "negative phase"):
        assert text in shown
    again = tmp_path / "again.svg"
    trained("plot", "curves", run["id"], "-o", str(again))
    assert again.read_bytes() == file.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"curves.svg", "again.svg"}


def test_curves_of_several_runs_are_named_by_what_differs(trained: Inside, tmp_path: Path) -> None:
    ids = [run_of(trained, "--tag", tag)["id"] for tag in ("second", "first")]
    file = tmp_path / "curves.svg"
    found = trained.json("plot", "curves", *ids, ids[0], "-o", str(file))
    assert [run["id"] for run in found["runs"]] == ids
    assert {f"seed 1, {ids[0][:7]}", f"seed 0, {ids[1][:7]}"} <= set(texts(file))
    assert "mnist (sample), label, 16:16, fast@1 with hidden 30,20" in texts(file)


def test_a_long_legend_stays_inside_the_figure(trained: Inside, tmp_path: Path) -> None:
    file = tmp_path / "curves.svg"
    long = run_of(trained, "--dataset", "fashion")
    trained("plot", "curves", run_of(trained, "--tag", "deep")["id"], long["id"], "-o", str(file))
    first = tmp_path / "curves-1.svg"
    places = re.findall(r"<text[^>]*translate\(([-\d.]+) [^>]*>([^<]*)</text>", first.read_text(encoding="utf-8"))
    named = [(float(x), text) for x, text in places if "hidden 9,9,9" in text or long["id"][:7] in text]
    assert len(named) >= 2
    # In points: the sample of a line is 23 wide, a character of the legend about 4.5, and the figure 374.
    assert all(x > 27 and x + 4.5 * len(text) < 374 for x, text in named), named


def test_a_deep_network_is_drawn_on_several_pages(trained: Inside, tmp_path: Path) -> None:
    deep = run_of(trained, "--tag", "deep")["id"]
    for figure in ("trace", "goodness"):
        found = trained.json("plot", figure, deep, "-o", str(tmp_path / f"{figure}.svg"))
        files = [tmp_path / f"{figure}-{page}.svg" for page in (1, 2)]
        assert found["files"] == list(map(str, files))
        pages = [" ".join(texts(file)) for file in files]
        layers = [[layer for layer in range(1, 8) if f"layer {layer}" in page] for page in pages]
        assert layers == [[1, 2, 3], [4, 5, 6, 7]]
    pdf = str(tmp_path / "one.pdf")
    assert trained.json("plot", "goodness", deep, "-o", pdf)["files"] == [pdf]
    assert "difference" in texts(tmp_path / "trace-1.svg")


def test_phases_show_the_tables_of_the_report(trained: Inside, tmp_path: Path) -> None:
    file = tmp_path / "phases.svg"
    found = trained.json("plot", "phases", "--tag", "first", "-o", str(file))
    assert found["tables"] == trained.json("report", "--tag", "first", "--all")
    shown = texts(file)
    assert {"mnist, label", "n:n, measured", "n:n, paper", "n:1, paper"} <= set(shown)
    assert "fashion, masks" not in shown
    trained("plot", "phases", "--tag", "first", "--no-published", "-o", str(file))
    assert "n:n, paper" not in texts(file)
    assert "bars: standard deviation over the seeds" not in shown
    _, err = trained("plot", "phases", "--preset", "fast", "-o", str(file))
    assert "more protocol" in err
    trained("plot", "phases", "--protocol", "hidden 9,9", "-o", str(file))
    assert "fast@1 with hidden 9,9,9,9,9,9,9" in " ".join(texts(file))
    assert "there are fast@1" in trained.refused("plot", "phases", "--protocol", "nosuch", "-o", str(file))
    assert "no finished runs" in trained.refused("plot", "phases", "--tag", "none", "-o", str(file))


def test_negatives_are_drawn_from_their_steps(inside: Inside, tmp_path: Path) -> None:
    for negatives, steps in (("masks", ["parent a", "parent b", "mask"]), ("label", [])):
        file = tmp_path / f"{negatives}.svg"
        found = inside.json("plot", "negatives", "--dataset", "fashion", "--neg", negatives, "-o", str(file))
        assert found["steps"] == ["positive", *steps, "negative"]
        assert all(a != b for a, b in zip(found["labels"], found["negative_labels"], strict=True))
        assert {*found["steps"], "overlay", f"fashion (sample), {negatives} negatives, seed 0"} <= set(texts(file))
    assert "did you mean 'masks'" in inside.refused("plot", "negatives", "--neg", "mask")
    assert "did you mean 'mnist'" in inside.refused("plot", "negatives", "--dataset", "mnits")


@pytest.mark.parametrize("filters", [("--tag", "first"), ("--dataset", "fashion")])
def test_goodness_is_that_of_the_last_epoch(trained: Inside, tmp_path: Path, filters: tuple[str, str]) -> None:
    run, file = run_of(trained, *filters), tmp_path / "goodness.svg"
    found = trained.json("plot", "goodness", run["id"], "-o", str(file))
    assert found["accuracy"] == run["final_accuracy"]
    means = [layer["true"]["mean"] for layer in found["layers"]]
    assert means == pytest.approx(run["epochs"][-1]["goodness_positive"], rel=1e-4)
    assert {"true label", "best wrong label", "negatives", "threshold"} <= set(texts(file))


def test_weights_are_drawn_from_the_largest_to_the_smallest(trained: Inside, tmp_path: Path) -> None:
    run = run_of(trained, "--tag", "first")["id"]
    found = trained.json("plot", "weights", run, "-o", str(tmp_path / "weights.svg"))
    assert sorted(unit["unit"] for unit in found["units"]) == list(range(1, 31))
    norms = [unit["norm"] for unit in found["units"]]
    assert norms == sorted(norms, reverse=True)
    assert any("30 of 30 units" in text for text in texts(tmp_path / "weights.svg"))


def test_missing_weights_are_explained_by_a_command_that_works(inside: Inside, tmp_path: Path) -> None:
    run = inside.json("train", *SMALL, "--epochs", "1", "--keep-state", "never")["id"]
    with open_store(inside.ff.db) as store:
        weights_path(store, run).unlink()
    for figure in ("weights", "goodness"):
        line = inside.refused("plot", figure, run, "-o", str(tmp_path / "a.svg"))
        assert f"`ff show {run[:7]} --toml > run.toml && ff train --config run.toml --force`" in line
    file = tmp_path / "run.toml"
    file.write_text(inside("show", run[:7], "--toml")[0])
    again = inside.json("train", "--config", str(file), "--force")["id"]
    assert inside.json("plot", "weights", again, "-o", str(tmp_path / "a.svg"))["epoch"] == 1


def test_the_default_name_is_printed(inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out, _ = inside("plot", "negatives", "--neg", "label")
    assert out.startswith("negatives-mnist-label.png: mnist (sample), label negatives, seed 0")
    assert (tmp_path / "negatives-mnist-label.png").read_bytes().startswith(b"\x89PNG")
    assert "the name must end in .svg, .png or .pdf" in inside.refused("plot", "negatives", "-o", "a.gif")
