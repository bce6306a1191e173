"""The commands as a user runs them: JSON names, filters, confirmations, output streams, imported packages."""

from __future__ import annotations

import csv
import io
import re
import sqlite3
import subprocess
import tomllib
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ff import FF, SMALL
from hypothesis import given
from hypothesis import strategies as st

from ffcli.cli.words import published_line
from ffcli.config import DataRef
from ffcli.planning import resolve, to_toml
from ffcli.plots.style import plain
from ffcli.settings import Settings, parse

if TYPE_CHECKING:
    from inside import Inside

pytest_plugins = ["inside"]

MASKS = ("train", "--dataset", "fashion", "--neg", "masks", "--hidden", "30", "--epochs", "1")
DIVERGING = ("train", *SMALL, "--lr", "1e30", "--epochs", "1", "--quiet")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> Inside:
    """Store four runs and a superseded one; tests only read them."""
    from inside import Inside

    ff = Inside(FF(tmp_path_factory.mktemp("study"), data_folder))
    ff(
        "train",
        *SMALL,
        "--epochs",
        "2",
        "--name",
        "first [/b] night",
        "--tag",
        "pilot",
        "--tag",
        "[red]",
        "--note",
        "so",
    )
    ff("train", *SMALL, "--epochs", "1", "--unseparated", "--lr", "0.01")
    ff(*MASKS, "--pos-phase", "16")
    ff(*MASKS, "--pos-phase", "16", "--force")
    ff(*DIVERGING, code=1)
    return ff


def ids(runs: list[dict[str, Any]]) -> set[str]:
    return {run["id"] for run in runs}


ACCURACIES = {"best_accuracy", "final_accuracy", "seconds"}
RUN = {"id", "key", "status", "cached", "config", *ACCURACIES}


def test_json_has_the_documented_names(study: Inside) -> None:
    trained = study.json("train", *SMALL, "--epochs", "2")
    assert trained.keys() >= RUN | {"epochs"}
    assert [epoch["epoch"] for epoch in trained["epochs"]] == [0, 1, 2]
    assert 0 <= trained["final_accuracy"] <= trained["best_accuracy"] <= 100

    listed = study.json("list-runs")
    assert all(run.keys() >= RUN and "epochs" not in run for run in listed)
    assert {run["final_accuracy"] for run in listed if run["status"] == "failed"} == {None}
    assert next(run for run in listed if run["id"] == trained["id"])["final_accuracy"] == trained["final_accuracy"]

    for table in study.json("report"):
        assert table.keys() >= {"table", "protocol", "data", "metric", "rows"}
        for row in table["rows"]:
            assert row.keys() >= {"dataset", "negatives", "cells"}
            for cell in row["cells"]:
                assert cell.keys() >= {"pos_phase", "neg_phase", "mean", "std", "runs", "published", "learned"}
                assert (cell["mean"] is None) == (cell["runs"] == 0)


def test_toml_of_a_run_selects_the_same_run(study: Inside, tmp_path: Path) -> None:
    (run,) = study.json("list-runs", "--dataset", "fashion")
    path = tmp_path / "run.toml"
    path.write_text(study("show", run["id"], "--toml")[0])
    again = study.json("train", "--config", str(path))
    assert (again["cached"], again["id"], again["key"]) == (True, run["id"], run["key"])
    planned = study.json("train", "--config", str(path), "--dry-run", "--preset", "paper", "--pos-phase", "2")["config"]
    assert (planned["lr"], planned["updates_per_batch"], planned["epochs"]) == (0.001, 50, 500)
    assert (planned["pos_phase"], planned["neg"], planned["hidden"]) == (2, "masks", [30])

    for flags, warmup in (("", 256), ("--lr 0.02", 0)):
        asked = ("--config", str(path), "--cure", "gradient-memory", *flags.split())
        cured = study.json("train", *asked, "--dry-run")["config"]
        assert (cured["warmup"], cured["lr_scaling"]) == (warmup, "none"), "a flag resets what it determines"
        assert (cured["lr"] == 0.02) == bool(flags)
    path.write_text('hidden = "30;20,10"\nneg = "masks"\nmask_blur = 2\n')
    cells = study.json("sweep", "--grid", str(path), "--neg", "label", "--dry-run")["cells"]
    assert sorted(cell["config"]["hidden"] for cell in cells) == [[20, 10], [30]]


DATA = DataRef(
    name="mnist", source="sample", fingerprint="f" * 64, features=784, classes=10, train=10_000, test=2_000,
    largest_class=10.0,
)  # fmt: skip
RATES = st.floats(1e-12, 1e12, allow_nan=False)
COUNTS = st.integers(1, 500)


@given(
    st.fixed_dictionaries(
        {"neg": st.sampled_from(["label", "masks"])},
        optional={
            "preset": st.sampled_from(["fast", "fast@1", "paper", "scaled"]),
            "epochs": COUNTS,
            "lr": RATES | st.just("auto"),
            "warmup": st.sampled_from([0, 10, 256]),
            "cure": st.sampled_from(["none", "gradient-memory", "replay:1"]),
            "lr_scaling": st.sampled_from(["ratio", "notebook", "none"]),
            "updates_per_batch": COUNTS,
            "batch_size": COUNTS,
            "threshold": st.floats(allow_nan=False, allow_infinity=False),
            "hidden": st.lists(COUNTS, min_size=1, max_size=4).map(tuple),
            "mask_blur": st.integers(0, 12),
            "seed": st.integers(0, 2**63 - 1),
            "holdout": st.integers(0, 5_000),
            "precision": st.sampled_from(["float32", "float64"]),
        },
    ),
    st.one_of(
        st.just({"unseparated": True}), st.fixed_dictionaries({}, optional={"pos_phase": COUNTS, "neg_phase": COUNTS})
    ),
)
def test_toml_keeps_the_key_of_every_config(options: dict[str, Any], phases: dict[str, Any]) -> None:
    def resolved(asked: Settings) -> Any:
        return resolve(asked, DATA)

    if "unseparated" in phases:  # such runs have no cure
        options = {name: value for name, value in options.items() if name != "cure"}
    config = resolved(parse(options | phases))
    written = tomllib.loads(to_toml(config))
    if options.get("lr") == "auto" and options.get("warmup", 256) == 256:
        assert (written["lr"], "warmup" in written) == ("auto", False)
    read = resolved(parse(written))
    assert read == config
    assert read.key == config.key


def test_published_figure_beside_a_cured_run_is_that_of_plain_training() -> None:
    full = DATA.model_copy(update={"source": "full"})
    plain, cured = (resolve(parse({"cure": cure}), full) for cure in ("none", "replay"))
    assert published_line(plain, 80.0) == "published (table 1): 89, -9.0 here"
    assert published_line(cured, 80.0) == "the paper without a cure: 89 (table 1)"


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ((), 4),
        (("--all",), 5),
        (("--status", "superseded"), 1),
        (("--dataset", "mnist"), 3),
        (("--dataset", "fashion", "--neg", "masks", "--pos-phase", "16"), 1),
        (("--neg", "label", "--status", "completed"), 2),
        (("--status", "failed"), 1),
        (("--pos-phase", "0"), 1),
        (("--preset", "fast"), 2),
        (("--preset", "custom"), 2),
        (("--preset", "paper"), 0),
        (("--tag", "pilot"), 1),
        (("--since", "2020-01-01"), 4),
        (("--since", "2999-01-01"), 0),
        (("--limit", "3"), 3),
        (("--limit", "0"), 4),
    ],
)
def test_list_runs_filters(study: Inside, filters: tuple[str, ...], found: int) -> None:
    assert len(study.json("list-runs", *filters)) == found


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "list-runs --dataset minst",
            "'minst': did you mean 'mnist'? there are mnist,",
        ),
        ("export --dataset minst", "unknown dataset 'minst'"),
        ("show latest", "there is no run 'latest': give an id, a name or last"),
        ("show 0123456789abcdef", "there is no run '0123456789abcdef'"),
    ],
)
def test_impossible_names_and_ids_are_refused(study: Inside, command: str, message: str) -> None:
    assert message in study.refused(*command.split())


def test_missing_default_database_is_an_empty_one(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_data_path", lambda *_, **__: inside.ff.folder / "none")
    monkeypatch.setattr(FF, "environment", {**inside.ff.environment, "FFCLI_DB": ""})
    assert inside.json("list-runs") == inside.json("export") == []
    assert "no runs yet" in inside("list-runs")[1]
    assert "Nothing is measured yet" in inside("report")[0]
    assert not list(inside.ff.folder.iterdir())


def test_list_runs_sorts(study: Inside) -> None:
    started = [run["started"] for run in study.json("list-runs")]
    assert started == sorted(started, reverse=True)
    for sort, name in (("final", "final_accuracy"), ("best", "best_accuracy"), ("seconds", "seconds")):
        values = [run[name] for run in study.json("list-runs", "--sort", sort)]
        measured = [value for value in values if value is not None]
        assert values == sorted(measured, reverse=True) + [None] * (len(values) - len(measured))
    assert study.json("list-runs", "--sort", "dataset")[0]["config"]["dataset"] == "fashion"
    assert "--limit 0 shows all" in study("list-runs", "--limit", "1")[1]


def test_names_tags_and_notes_are_shown_verbatim(study: Inside) -> None:
    listed, _ = study("list-runs", env={"COLUMNS": "250"})
    assert "first [/b] night #pilot #[red]" in listed
    (run,) = study.json("list-runs", "--tag", "pilot")
    assert (run["name"], run["tags"], run["note"]) == ("first [/b] night", ["pilot", "[red]"], "so")
    shown, _ = study("show", run["id"])
    assert "first [/b] night #pilot #[red]" in shown
    assert "\nso\n" in shown


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_numbers_are_never_cut_at_any_width(study: Inside, columns: int) -> None:
    listed, _ = study("list-runs", "--all", env={"COLUMNS": str(columns)})
    runs = study.json("list-runs", "--all")
    numbers = {f"{run['final_accuracy']:.2f}" for run in runs if run["final_accuracy"] is not None}
    assert numbers | {run["id"][:7] for run in runs} | {run["status"] for run in runs} <= set(listed.split())
    (run,) = study.json("list-runs", "--tag", "pilot")
    shown, _ = study("show", run["id"], env={"COLUMNS": str(columns)})
    epochs = study.json("show", run["id"])["epochs"]
    assert {f"{epoch['accuracy']:.2f}" for epoch in epochs} <= set(shown.split())
    for text in (listed, shown):
        assert "…" not in text
    assert {"30,20", "0.01,"} <= set(listed.split()), "what differs from the preset"
    for text in (listed, shown):
        assert max(map(len, text.splitlines())) <= columns


def test_each_run_is_one_line_from_100_columns_on(study: Inside) -> None:
    runs = study.json("list-runs", "--all")
    uncut, *others = (study("list-runs", "--all", env={"COLUMNS": width})[0] for width in ("", "100", "140"))
    assert "…" not in uncut
    assert all(len(listed.splitlines()) == 1 + len(runs) for listed in (uncut, *others))
    assert not re.search(" $", uncut, re.MULTILINE), "no spaces at the ends of lines"
    presets = [re.split("  +", line)[8] for line in uncut.splitlines()[1:]]
    assert "custom: lr 0.01, hidden 30,20" in presets
    for columns, listed in zip((100, 140), others, strict=True):
        assert max(map(len, listed.splitlines())) <= columns
        for run, preset, line in zip(runs, presets, listed.splitlines()[1:], strict=True):
            assert preset[:23] in line
            assert {run["id"][:7], run["config"]["dataset"], run["config"]["neg"], run["status"]} <= set(line.split())


def test_delete_asks_first_and_deletes_the_files(inside: Inside) -> None:
    run = inside.json("train", *SMALL, "--epochs", "1", "--keep-state", "always")
    files = inside.ff.folder / "ff.db.states"
    for answer, code in (("n\n", 1), ("", 2)):
        _, asked = inside("delete", run["id"], answer=answer, code=code)
        assert f"Delete run {run['id'][:7]} (mnist (sample), label, 1:1" in asked
        assert ("--yes" in asked) == (code == 2)
        assert len(list(files.iterdir())) == 2
    assert ids(inside.json("list-runs")) == {run["id"]}
    assert inside("delete", run["id"][:5], answer="y\n")[1].endswith("fast@1 with hidden 30,20, seed 0)\n")
    assert inside.json("list-runs", "--all") == []
    assert not list(files.iterdir())

    second = inside.json("train", *SMALL, "--epochs", "1")
    assert inside.json("delete", second["id"], "--yes") == {"deleted": [second["id"]]}
    assert "no run" in inside.refused("show", second["id"])


def test_runs_that_cannot_be_read_are_named_and_left_out(inside: Inside) -> None:
    for neg in ("label", "masks"):
        inside("train", *SMALL, "--epochs", "1", "--neg", neg)
    for damage in ("heartbeat = 'x'", "config = '{'", "id = '../escaped'"):
        inside("train", *SMALL, "--epochs", "1", "--seed", "1")
        check_commands_with_a_damaged_run(inside, damage)


def check_commands_with_a_damaged_run(inside: Inside, damage: str) -> None:
    with closing(sqlite3.connect(inside.ff.db)) as connection, connection:
        (whole,) = connection.execute("SELECT id FROM run WHERE seed = 1").fetchone()
        connection.execute(f"UPDATE run SET {damage} WHERE seed = 1")
        (id,) = connection.execute("SELECT id FROM run WHERE seed = 1").fetchone()
        connection.execute("UPDATE epoch SET run_id = ? WHERE run_id = ?", [id, whole])
    name = id if id.startswith(".") else id[:7]
    line = f"left out: run {name} cannot be read; `ff db check` shows why, `ff delete ID` removes one"
    commands = (
        "list-runs", "list-runs --dataset mnist --json", "report", "report --table cures", "export", "export --json",
        "compare neg=label neg=masks",
    )  # fmt: skip
    for command in commands:
        assert line in inside(*command.split()).stderr.splitlines(), command
    assert len(inside.json("list-runs")) == 2
    inside("prune")
    assert f"run {name} is damaged: its " in inside.refused("show", name)
    assert f"run {name} is damaged: its " in inside("db", "check", code=1).stderr
    inside("delete", name, "--yes")
    assert "left out" not in inside("list-runs").stderr
    inside("db", "check")


def test_names_are_changed_and_used_wherever_a_run_is_expected(inside: Inside) -> None:
    first = inside.json("train", *SMALL, "--epochs", "1", "--name", "base line", "--tag", "old")
    second = inside.json("train", *SMALL, "--epochs", "1", "--seed", "1", "--tag", "old")
    assert inside.json("show", "base line")["id"] == first["id"]
    assert inside.json("show", "last")["id"] == second["id"]
    line = inside("edit", "last", "--name", "second", "--tag", "a", "--tag", "b", "--note", "so")[1]
    assert line == f"run {second['id'][:7]}: name second, #a #b, note so\n"
    assert (inside.json("show", "second")["tags"], inside.json("show", "second")["note"]) == (["a", "b"], "so")
    assert inside.json("edit", "second", "--no-tags")["tags"] == []
    assert "contradict" in inside.refused("edit", "second", "--name", "x", "--no-name")
    assert "nothing to change" in inside.refused("edit", "last")
    assert "--name last means the run that started last" in inside.refused("edit", "second", "--name", "last")
    assert "--name last means" in inside.refused("train", *SMALL, "--epochs", "1", "--name", "last")

    assert "give the runs to delete" in inside.refused("delete", "--yes")
    assert "not both" in inside.refused("delete", "last", "--tag", "old", "--yes")
    assert "no run 'third'" in inside.refused("delete", "second", "third", "--yes")
    assert inside.json("delete", "--tag", "nosuch", "--yes") == {"deleted": []}
    asked = inside("delete", "second", "base line", answer="n\n", code=1)[1]
    assert "base line, mnist (sample)" in asked
    assert "Delete these 2 runs?" in asked
    assert inside.json("delete", "--tag", "old", "--status", "completed", "--yes") == {"deleted": [first["id"]]}
    assert inside.json("delete", "second", "last", "--yes") == {"deleted": [second["id"]]}


def test_prune_deletes_states_and_superseded_runs(inside: Inside) -> None:
    first = inside.json("train", *SMALL, "--epochs", "1", "--keep-state", "always")
    second = inside.json("train", *SMALL, "--epochs", "1", "--keep-state", "always", "--force")
    states = inside.ff.folder / "ff.db.states"
    freed = inside.json("prune", "--keep-superseded")
    assert (freed["runs"], freed["files"]) == (0, 1)
    before = sum(path.stat().st_size for path in states.iterdir())
    freed = inside.json("prune")
    left = [path.name for path in states.iterdir()]
    assert left == [f"{second['id']}.weights.safetensors"]
    assert freed["bytes"] == before - (states / left[0]).stat().st_size > 0
    assert freed["runs"] == 1
    assert ids(inside.json("list-runs", "--all")) == {second["id"]} != {first["id"]}
    assert inside("prune")[1] == "freed 0.0 MB: 0 superseded runs, 0 files\n"


def test_dry_run_writes_nothing(inside: Inside) -> None:
    inside("train", *SMALL, "--dry-run")
    before = sorted(inside.ff.data.iterdir())
    shown, _ = inside("train", *SMALL, "--epochs", "1", "--dry-run")
    plan = inside.json("train", *SMALL, "--epochs", "1", "--dry-run")
    assert f"key {plan['key']}" in shown
    assert re.search(r"not stored: about .*rough guess", shown)
    assert (plan["cached"], plan["status"], plan["config"]["hidden"]) == (False, None, [30, 20])
    tiny = inside.json("train", "--hidden", "1", "--epochs", "100", "--dry-run")
    assert tiny["estimated_seconds"] > 4, "an epoch costs more than its arithmetic"
    assert len(inside.json("sweep", "--pos-phase", "1,2", "--dry-run")["cells"]) == 2
    planned, _ = inside("sweep", "--pos-phase", "2", "--workers", "1", "--epochs", "1", "--dry-run")
    assert re.search(r"0/1 epoch, .*\n1 of 1 cell to train, about .* with 1 worker ", planned)
    assert not list(inside.ff.folder.iterdir())
    assert sorted(inside.ff.data.iterdir()) == before


def test_dry_run_shows_what_is_stored(study: Inside) -> None:
    stored = study.json("train", *SMALL, "--epochs", "2", "--dry-run")
    assert (stored["cached"], stored["status"], stored["estimated_seconds"]) == (True, "completed", 0)
    longer = study.json("train", *SMALL, "--epochs", "4", "--dry-run")
    assert (longer["cached"], longer["epochs_done"], longer["estimate_measured"]) == (False, 2, True)
    assert "stored: " in study("train", *SMALL, "--epochs", "2", "--dry-run")[0]


@pytest.mark.parametrize(
    ("variable", "value", "flag", "message"),
    [
        ("FFCLI_DATASET", "minst", ("--dataset", "mnist"), "'minst'"),
        ("FFCLI_DATA", "half", ("--data", "sample"), "--data"),
        ("FFCLI_DEVICE", "tpu", ("--device", "cpu"), "--device should be"),
        ("FFCLI_THREADS", "0", ("--threads", "1"), "--threads should be"),
        ("FFCLI_DB", "nowhere/ff.db", ("--db", "ff.db"), "nowhere is not a folder"),
        ("FFCLI_DATA_DIR", "ff.toml/data", ("--data-dir", "data"), "ff.toml is not a folder"),
    ],
)
def test_options_override_environment_variables(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, flag: tuple[str, str], message: str
) -> None:
    monkeypatch.chdir(inside.ff.folder)
    Path("ff.toml").touch()
    command = ("train", *SMALL[2:], "--epochs", "1", "--quiet")
    refusal = inside.refused(*command, env={variable: value})
    assert message in refusal
    assert f"({variable} is set to '{value}')" in refusal
    inside(*command, *flag, env={variable: value})
    assert Path("ff.db").exists()


def commands() -> list[tuple[str, ...]]:
    """Return the words of every command."""
    from typer.main import get_command

    from ffcli.cli.main import app

    def walk(command: Any, words: tuple[str, ...]) -> list[tuple[str, ...]]:
        names = getattr(command, "commands", {})
        return [words, *(found for name in names for found in walk(command.get_command(None, name), (*words, name)))]

    return walk(get_command(app), ())


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_has_help(inside: Inside, words: tuple[str, ...]) -> None:
    shown, _ = inside(*words, "--help")
    assert f"Usage: {' '.join(('ff', *words))}" in " ".join(shown.split())
    assert shown == inside(*words, "-h")[0]


def test_results_go_to_stdout_and_messages_to_stderr(inside: Inside) -> None:
    out, err = inside("train", *SMALL, "--epochs", "2")
    assert [line.split()[:2] for line in err.splitlines()[-3:]] == [["epoch", f"{n}/2"] for n in (0, 1, 2)]
    assert "accuracy" in out
    assert "epoch 1/2" not in out
    assert inside("train", *SMALL, "--epochs", "2", "--quiet")[1] == ""
    assert "\x1b" not in out + err


def test_every_format_of_the_report_is_plain_text(study: Inside) -> None:
    for format in ("rich", "markdown", "csv", "json", "latex"):
        assert "\x1b" not in study("report", "--format", format)[0]
    rows = list(csv.DictReader(io.StringIO(study("report", "--format", "csv", "--table", "2")[0])))
    assert {row["dataset"] for row in rows} == {"mnist", "fashion"}


def loaded(ff: FF, *arguments: str) -> set[str]:
    """Return the packages that a process of this command imports."""
    done = ff(*arguments, PYTHONPROFILEIMPORTTIME="1")
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line}


def test_only_training_loads_torch(study: Inside) -> None:
    for arguments in (("--help",), ("--version",)):
        assert not loaded(study.ff, *arguments) & {"torch", "sqlalchemy", "numpy", "alembic", "distributed"}
    planned = ["sweep", *SMALL, "--epochs", "2", "--dry-run"]
    for command in (["train", *SMALL, "--epochs", "2"], planned, ["list-runs"], ["report"]):
        packages = loaded(study.ff, *command)
        assert "sqlalchemy" in packages
        assert not packages & {"torch", "torchvision", "scipy", "alembic", "matplotlib", "distributed", "dask"}
        assert command[0] in ("train", "sweep") or "numpy" not in packages


def test_closed_pipe_is_not_an_error(study: Inside) -> None:
    environment = study.ff.environment | {"PYTHONUNBUFFERED": ""}
    pipes = (("db path --json", "true", ""), ("report --json", "true", ""), ("report --json", "head -n 1", "[\n"))
    for command, reader, read in pipes:
        pipe = ["sh", "-c", f'"$@" {command} | {reader}', "sh", *study.ff.command()]
        done = subprocess.run(pipe, env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, read, "")


def test_closed_pipe_ends_a_long_output_like_sigpipe(study: Inside) -> None:
    command = ["bash", "-c", '"$@" export --json | true; exit ${PIPESTATUS[0]}', "sh", *study.ff.command()]
    done = subprocess.run(command, env=study.ff.environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (141, "")


def test_closed_stdout_or_stderr_is_not_an_error(study: Inside) -> None:
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        command = ["sh", "-c", f'"$@" list-runs {closed}', "sh", *study.ff.command()]
        done = subprocess.run(command, env=study.ff.environment, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_dollar_signs_in_a_plot_title_are_not_parsed_as_math() -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    figure.suptitle(plain(r"p$\frac$q"))
    figure.savefig(io.BytesIO())
