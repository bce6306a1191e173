"""`ff train --trace` and `ff plot trace`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ff import FF, SMALL

if TYPE_CHECKING:
    from inside import Inside

pytest_plugins = ["inside"]

ASKED = ("train", *SMALL, "--balanced", "--pos-phase", "8", "--epochs", "3")
"""An epoch has 20 hours: phase 3 reaches from the first into the second."""


def hours(trace: list[dict[str, Any]]) -> list[int]:
    return [row["hour"] for row in trace if row["layer"] == 1]


def test_trace_is_stored_shown_and_plotted(inside: Inside) -> None:
    folder = inside.ff.folder
    plain = inside.json(*ASKED)
    out, err = inside(*ASKED, "--trace", "1-2,4")
    assert "phases 1-2,4" in err
    assert "--force" in err
    assert "trace of" not in out
    assert "has no trace" in inside.refused("plot", "trace", plain["id"])

    out, err = inside(*ASKED, "--trace", "1-2,4", "--force", "--keep-state", "always")
    (run,) = inside.json("list-runs")
    assert run["key"] == plain["key"]
    assert run["final_accuracy"] == plain["final_accuracy"]
    assert f"trace of phases 1-2,4: `ff plot trace {run['id'][:7]}`" in out
    assert "--force" not in err

    picture = folder / "night.png"
    shown, _ = inside("plot", "trace", run["id"][:7], "--output", str(picture))
    assert shown == f"{picture}: phases 1-2,4, 24 hours of run {run['id'][:7]}\n"
    assert picture.read_bytes().startswith(b"\x89PNG")
    drawn = inside.json("plot", "trace", run["id"], "-o", str(folder / "night.svg"))
    assert "</svg>" in (folder / "night.svg").read_text()
    assert hours(drawn["trace"]) == [*range(1, 17), *range(25, 33)]
    assert drawn["trace"] == inside.json("show", run["id"])["trace"] == inside.json("export")[0]["trace"]

    # Phases 5 and 7 were not traced while they were trained; phase 9 comes with more epochs.
    out, err = inside(*ASKED[:-1], "5", "--trace", "1,5,7,9")
    assert "phases 5,7" in err
    assert "trace of phases 1-2,4,9:" in out


def test_killed_run_continues_to_the_same_trace(inside: Inside, tmp_path: Path) -> None:
    from inside import Inside

    asked = (*ASKED[:-1], "12", "--trace", "1-30")
    with inside.ff.started(*asked) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if line.startswith("epoch  3/"))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    _, err = inside(*asked)
    assert "continued after epoch" in err
    (run,) = inside.json("list-runs")
    uninterrupted = Inside(FF(tmp_path / "uninterrupted", inside.ff.data))
    uninterrupted.ff.folder.mkdir()
    whole = uninterrupted.json(*asked)
    trace = inside.json("show", run["id"])["trace"]
    assert hours(trace) == list(range(1, 241))
    assert trace == uninterrupted.json("show", whole["id"])["trace"]


def test_an_incomplete_trace_of_a_phase_is_deleted(inside: Inside) -> None:
    asked = (*ASKED[:-1], "1", "--trace", "1-3", "--keep-state", "always")
    run = inside.json(*asked)["id"]
    assert hours(inside.json("show", run)["trace"]) == list(range(1, 21)), "phase 3 goes on when the run ends"
    _, err = inside(*ASKED[:-1], "2", "--quiet")
    assert "the trace of phase 3 is incomplete and was deleted; use --force" in err
    assert hours(inside.json("show", run)["trace"]) == list(range(1, 17))


def test_unfinished_phase_is_plotted_up_to_its_last_hour(inside: Inside, tmp_path: Path) -> None:
    asked = ("train", *SMALL, "--epochs", "1", "--balanced", "--pos-phase", "300000000", "--trace", "1", "--quiet")
    run = inside.json(*asked)["id"]
    assert inside.json(*asked)["cached"]
    out, _ = inside("plot", "trace", run, "--output", str(tmp_path / "a.png"))
    assert "phase 1, 20 hours" in out


def test_wrong_phases_and_plot_files_are_refused(inside: Inside, tmp_path: Path) -> None:
    for wrong in ("3-2", "1,", "half"):
        assert f"--trace '{wrong}': give phases" in inside.refused(*ASKED, "--trace", wrong)
    for wrong in ("0", "1-9", "1-999999999999"):
        assert f"--trace '{wrong}': 3 epochs of 8:8 have phases 1 to 8" in inside.refused(*ASKED, "--trace", wrong)
    line = inside.refused(*ASKED[:-1], "1", "--trace", "4")
    assert "1 epoch of 8:8 has phases 1 to 3" in line
    assert "leave out --trace" in inside.refused("train", *SMALL, "--unseparated", "--trace", "1")
    inside(*ASKED, "--trace", "1")
    (run,) = inside.json("list-runs")
    for name, message in (("a.doc", ".svg, .png or .pdf"), ("none/a.svg", "no folder")):
        assert message in inside.refused("plot", "trace", run["id"], "-o", str(tmp_path / name))
