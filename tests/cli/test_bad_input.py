"""Bad input gives one clear line and the right exit code, and leaves nothing behind."""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from ff import FF, SMALL

from ffcli.data.catalogue import CATALOGUE
from ffcli.store.database import open_store

if TYPE_CHECKING:
    from inside import Inside

pytest_plugins = ["inside"]

NO_DEVICE = f"cuda:{torch.cuda.device_count()}"

OPTIONS: list[tuple[str, tuple[str, ...]]] = [
    ("train --dataset minst", ("'minst'", "did you mean 'mnist'?", "cifar10", ".npz")),
    ("train --neg mask", ("'mask'", "did you mean 'masks'?", "label")),
    ("train --pos-phase 0", ("--pos-phase", "0")),
    ("train --neg-phase -4", ("--neg-phase", "-4")),
    ("train --pos-phase 1.5", ("--pos-phase", "'1.5'")),
    ("train --warmup auto", ("--warmup", "'auto'")),
    ("compare cure=hope cure=none", ("cure", "none, gradient-memory", "'hope'")),
    ("sweep --lr fast", ("--lr", "a number, or auto", "'fast'")),
    ("report --metric finl", ("--metric", "finl", "last5")),
    ("train --pos-phase 0 --lr nan", ("--pos-phase", "; --lr", "'nan'")),
    ("train --unseparated --pos-phase 3", ("unseparated", "leave out the phase lengths")),
    ("train --unseparated --neg-phase 1", ("unseparated", "leave out the phase lengths")),
    ("train --unseparated --balanced", ("leave out", "--balanced", "--unseparated")),
    ("train --balanced --neg-phase 2", ("leave out", "--balanced", "--neg-phase")),
    ("train --hidden 500,0", ("--hidden", "0")),
    ("train --hidden 500,x", ("--hidden", "x")),
    ("train --hidden=", ("--hidden", "''")),
    ("train --hidden -3", ("--hidden", "-3")),
    ("train --lr nan", ("--lr", "or auto", "'nan'")),
    ("train --lr inf", ("--lr", "or auto", "'inf'")),
    ("train --lr -0.1", ("--lr", "'-0.1'")),
    ("train --cure hope", ("--cure", "none, gradient-memory, replay", "'hope'")),
    *[
        (f"train --cure {cure}", ("--cure", "none, gradient-memory, replay", f"'{cure}'"))
        for cure in ("gradient-memory:9", "replay:0", "replay:abc", "replay:")
    ],
    ("train --cure replay:513 --data sample", ("--cure replay:513", "replay:512")),
    ("train --cure replay --unseparated", ("leave out --cure", "--unseparated")),
    ("train --lr fast", ("--lr", "a number, or auto", "'fast'")),
    ("train --lr-scaling ratoi", ("--lr-scaling", "ratio", "notebook", "none", "'ratoi'")),
    ("train --threshold nan", ("--threshold", "nan")),
    ("train --preset papr", ("preset", "'papr'", "did you mean 'paper'?")),
    ("train --preset fast@7", ("preset", "'fast@7'", "did you mean 'fast@1'?")),
    ("train --epochs 0", ("--epochs", "0")),
    ("train --epochs 99999999999999999999", ("--epochs", "1000000000")),
    ("train --precision float16", ("--precision", "float32", "tf32", "'float16'")),
    ("train --precision tf32 --device cpu", ("--precision tf32", "float32, float64 or bf16")),
    ("train --mask-blur 13", ("--mask-blur", "12", "13")),
    ("train --seed -1", ("--seed", "-1")),
    ("train --eval-every 0", ("--eval-every", "1")),
    ("train --threads 0", ("--threads", "1")),
    ("train --batch-size 10001", ("--batch-size 10001 is more than the 10000 training images of mnist (sample)",)),
    ("train --holdout 9700", ("--holdout 9700 leaves no batch of 512 of the 10000", "mnist (sample)", "at most 9488")),
    ("train --holdout 10001", ("--holdout 10001 leaves no batch", "at most 9488")),
    ("train --data ful", ("--data", "auto", "full", "sample")),
    ("train --dataset cifar10", ("cifar10 has no sample",)),
    ("train --device tpu", ("--device", "tpu", "auto, cpu, cuda", "cuda:N")),
    ("train --confg x", ("unknown option --confg: did you mean --config?",)),
    ("train mnist", ("unexpected argument 'mnist': did you mean --dataset mnist?",)),
    ("train repaly", ("did you mean --cure replay?",)),
    ("train own.npz", ("did you mean --dataset own.npz?",)),
    ("sweep 1", ("did you mean --table 1?",)),
    ("list-runs completed", ("did you mean --status completed?",)),
    ("data fetch mnist x", ("unexpected argument 'x': `ff data fetch` takes NAME and options",)),
    ("train -epochs 3", ("unknown option -epochs: did you mean --epochs?",)),
    ("train --epochs", ("--epochs needs a value",)),
    ("train --quiet=3", ("--quiet takes no value",)),
    ("trian", ("unknown command 'trian': did you mean 'train'?",)),
    ("data fetsh mnist", ("unknown command 'fetsh': did you mean 'fetch'?",)),
    ("weights last", ("FILE is missing: give `ff weights RUN FILE`; FILE: ",)),
    ("train --config nowhere.toml", ("--config nowhere.toml", "no such file")),
    ("train --db nowhere/ff.db", ("nowhere is not a folder", "--db")),
    ("train --db .", ("is a folder", "ffcli.db")),
    ("train --db postgresql://lab/runs", ("postgresql:// is not supported", "sqlite:///PATH")),
    ("train --db sqlite://", ("three slashes",)),
    ("list-runs --status done", ("--status", "done", "completed")),
    ("list-runs --sort acuracy", ("--sort", "acuracy", "best")),
    ("list-runs --neg mask", ("'mask'", "did you mean 'masks'?")),
    ("list-runs --pos-phase -1", ("--pos-phase", "0")),
    ("list-runs --cure replays", ("--cure", "none, gradient-memory, replay", "'replays'")),
    ("list-runs --preset papr", ("preset", "'papr'", "did you mean 'paper'?")),
    ("list-runs --since yesterday", ("--since 'yesterday'", "2025-01-31")),
    ("list-runs --since 0001-01-01", ("--since", "1970")),
    ("list-runs --limit -1", ("--limit", "0")),
    ("show", ("RUN is missing: give `ff show RUN`", "last")),
    *[
        (command, ("there is no database", "ff.db: check the path", "ff train"))
        for command in (
            "list-runs",
            "show abc",
            "report",
            "compare neg=label neg=masks",
            "export",
            "bench --history",
            "delete abc",
            "prune",
            "db check",
        )
    ],
    ("report --preset papr", ("preset", "'papr'", "custom")),
    ("export --preset fast@7", ("preset", "'fast@7'", "did you mean 'fast@1'?")),
    ("export --neg mask", ("'mask'",)),
    ("sweep", ("nothing to sweep", "--table 1")),
    ("sweep --eval-every 0", ("--eval-every should be at least 1",)),
    ("sweep --seeds 0-4999", ("5,000 runs", "--yes", "--dry-run")),
    ("sweep --seeds 0-99999 --pos-phase 1,2,3,4,5,6,7,8,9,10,11", ("1,100,000 runs", "at most 1,000,000")),
    ("report --json --format csv", ("--json", "--format csv", "leave out one")),
    ("db merge nowhere.db", ("there is no database", "nowhere.db")),
    ("sweep --table 3", ("--table 3", "1 and 2")),
    ("sweep --seeds 0-99999999999", ("--seeds", "at most 1,000,000")),
    ("sweep --seeds 4-1", ("--seeds '4-1'", "0-4")),
    ("sweep --pos-phase 1,0", ("--pos-phase", "0")),
    ("data fetch minst", ("'minst'", "did you mean 'mnist'?")),
    ("data list --data-dir nowhere", ("--data-dir nowhere", "no such folder")),
    ("train --data-dir nowhere/data", ("--data-dir nowhere/data", "nowhere is not a folder")),
    ("train --dataset own.npz --data sample", ("own.npz is a path, which has no sample", "--data full")),
    ("train --mask-blur 3", ("--neg label has no masks", "leave out --mask-blur")),
    ("sweep --pos-phase 1,2 --mask-blur 3", ("--neg label has no masks", "leave out --mask-blur")),
    ("sweep --pos-phase 1,2 --workers 100000", ("--workers should be at most 256",)),
    ("export --json --format csv", ("--json", "--format csv", "leave out one")),
    ("show abc --toml --json", ("--toml", "--json", "leave out one")),
    ("db merge .", ("is a folder", "give a file in it")),
    (f"train --name {'x' * 201}", ("--name should have at most 200 characters, not 201",)),
    (f"train --note {'x' * 2001}", ("--note should have at most 2,000 characters, not 2,001",)),
]


@pytest.mark.parametrize(("command", "expected"), OPTIONS, ids=[command for command, _ in OPTIONS])
def test_wrong_options_are_explained_and_change_nothing(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, command: str, expected: tuple[str, ...]
) -> None:
    monkeypatch.chdir(inside.ff.folder)
    line = inside.refused(*command.split())
    assert all(part.lower() in line.lower() for part in expected), line
    assert not re.search("Value error|Input should", line), "pydantic's wording"
    assert not list(inside.ff.folder.iterdir())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("train", "--name", ""), "--name '' is empty"),
        (("train", "--tag="), "--tag '' is empty"),
        (("data", "list", "--data-dir", ""), "--data-dir '' is empty"),
        (("list-runs", "--db", ""), "--db '' is empty"),
        (("db", "backup", ""), "the argument '' is empty"),
        (("train", "--tag", " "), "--tag should not be empty"),
        (("train", "--name", "a\nb"), "--name should be one line of text without control characters, not 'a\\nb'"),
        (("train", "--note", "\x1b[31m"), "--note should be one line of text"),
        (("train", "--tag", "\u202etxt"), "--tag should be one line of text"),
        *[
            ((command, option, "\udcff"), rf"{option} b'\xff' is not UTF-8 text")
            for command, option in (
                ("train", "--name"),
                ("train", "--note"),
                ("train", "--dataset"),
                ("train", "--config"),
                ("train", "--data-dir"),
                ("list-runs", "--tag"),
                ("list-runs", "--db"),
                ("export", "--output"),
            )
        ],
    ],
)
def test_texts_that_cannot_be_stored_or_shown_are_refused(
    inside: Inside, arguments: tuple[str, ...], expected: str
) -> None:
    assert expected in inside.refused(*arguments)
    assert not list(inside.ff.folder.iterdir())


def test_environment_variables_that_are_no_text_are_refused_and_empty_ones_ignored(inside: Inside) -> None:
    assert r"FFCLI_DB b'\xff.db' is not UTF-8 text" in inside.refused("list-runs", env={"FFCLI_DB": "\udcff.db"})
    assert "--workers should be at least 1, not 0 (FFCLI_WORKERS is set to '0')" in inside.refused(
        "sweep", "--pos-phase", "1,2", env={"FFCLI_WORKERS": "0"}
    )
    inside("data", "list", env={"FFCLI_DATA": "", "FFCLI_WORKERS": ""})


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("pos_phases = 3", ("'pos_phases'", "did you mean 'pos_phase'?")),
        ("pos_phase = ", ("TOML",)),
        ("cure = {samples = 5}", "cure needs a value (none|gradient-memory|replay), not a table"),
        ("epochs = true", "epochs needs a value (integer), not true"),
        ("lr = inf", ("lr should be", "or auto, not inf")),
        ("hidden = [0]", ("hidden should be", "1, not 0")),
        ("hidden = []", ("hidden should be a list", "not")),
        ("epochs = 1.5", ("epochs should be a whole number, not 1.5",)),
        ("\xff", ("TOML",)),
        (f"seed = {'9' * 5000}", ("too many digits",)),
        (f"seed = 0x{'f' * 5000}", ("seed should be less than", "thousands of digits")),
        (f"seed = {'[' * 3000}", ("too many nested brackets",)),
        ("epochs = '2'", ("epochs should be a whole number, not '2'",)),
        ("epochs = 2.0", ("epochs should be a whole number, not 2.0",)),
        ("lr = '0.1'", ("lr should be a number, or auto, not '0.1'",)),
        ("hidden = ['500']", ("hidden should be a list of whole numbers",)),
    ],
)
@pytest.mark.parametrize("option", ["--config", "--grid"])
def test_wrong_config_and_grid_files_are_explained(
    inside: Inside, option: str, content: str, expected: tuple[str, ...]
) -> None:
    path = inside.ff.folder / "run.toml"
    path.write_text(content, encoding="latin-1")
    line = inside.refused("train" if option == "--config" else "sweep", option, str(path))
    assert line.startswith(f"ff: {option} {path}")
    assert all(part in line for part in expected), line
    assert list(inside.ff.folder.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("table = '1'", ("table", "1", "2")),
        ("table = [[1]]", ("table", "1", "2")),
        ("cure = ['none', 5]", ("cure should be", "5")),
        ("balanced = 'no'", ("balanced should be true or false, not 'no'",)),
        ("pos_phase = []", ("pos_phase", "value")),
        ("pos_phase = [1, 'x']", ("pos_phase should be a whole number, not 'x'",)),
        ("seeds = [0, 'a']", ("seed", "'a'")),
        ("seeds = '0-x'", ("seeds '0-x': give seeds such as 0-4",)),
        ("hidden = '50,50;x'", ("hidden should be sizes",)),
    ],
)
def test_wrong_grids_are_explained(inside: Inside, content: str, expected: tuple[str, ...]) -> None:
    path = inside.ff.folder / "grid.toml"
    path.write_text(content)
    line = inside.refused("sweep", "--grid", str(path))
    assert line.startswith(f"ff: --grid {path}")
    assert all(part in line for part in expected), line


def test_missing_device_is_refused_and_nothing_is_trained(inside: Inside) -> None:
    assert f"--device {NO_DEVICE}" in inside.refused("sweep", *SMALL, "--device", NO_DEVICE)
    line = inside.refused("train", *SMALL, "--device", NO_DEVICE)
    assert f"--device {NO_DEVICE}" in line
    assert "--device cpu" in line
    assert inside.json("list-runs", "--all") == []


def save_npz(path: Path, *, side: int = 4, train: int = 600, classes: int = 3, test_classes: int | None = None) -> Path:
    """Write a small dataset of noise."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (train + 60, side, side), dtype=np.uint8)
    np.savez(
        path,
        train_images=images[:train],
        train_labels=np.arange(train) % classes,
        test_images=images[train:],
        test_labels=np.arange(60) % (test_classes or classes),
    )
    return path


def cut(path: Path) -> None:
    save_npz(path)
    path.write_bytes(path.read_bytes()[:-700])


DATA_FILES: list[tuple[str, Callable[[Path], Any], tuple[str, ...]]] = [
    ("gone", lambda path: None, ("is not a file", "train_images")),
    ("empty", Path.touch, ("is empty",)),
    ("truncated", cut, ("truncated or damaged",)),
    ("labels outside", lambda path: save_npz(path, test_classes=4), ("test label 3", "training classes 0 to 2")),
    ("too many classes", lambda path: save_npz(path, side=2, classes=5), ("5 classes but only 4 features",)),
    ("too small", lambda path: save_npz(path, train=500), ("--batch-size 512 is more than the 500 training images",)),
]


@pytest.mark.parametrize(("name", "make", "expected"), DATA_FILES, ids=[name for name, *_ in DATA_FILES])
def test_bad_data_files_are_refused(
    inside: Inside, name: str, make: Callable[[Path], Any], expected: tuple[str, ...]
) -> None:
    make(path := inside.ff.folder / f"{name}.npz")
    line = inside.refused(
        "train", "--dataset", str(path), "--data", "auto", "--data-dir", str(inside.ff.folder / "data")
    )
    assert all(part in line for part in (name, *expected)), line
    assert not inside.ff.db.exists()


def test_data_file_with_a_wrong_digest_is_refused_and_not_prepared(inside: Inside) -> None:
    folder = inside.ff.folder / "data"
    (folder / "mnist").mkdir(parents=True)
    for name, _ in CATALOGUE["mnist"].files:
        header = b"\0\0\x08\x03" + 3 * b"\0\0\0\x02" if "images" in name else b"\0\0\x08\x01\0\0\0\x02"
        (folder / "mnist" / f"{name}.gz").write_bytes(gzip.compress(header + bytes(8 if "images" in name else 2)))
    line = inside.refused("train", "--data", "full", "--data-dir", str(folder))
    assert "train-images-idx3-ubyte.gz is not the published file" in line
    assert "expected 6bbc9ace898e44ae57da46a324031adb" in line
    assert [path.name for path in folder.iterdir() if path.suffix != ".lock"] == ["mnist"]
    assert not inside.ff.db.exists()


def garbage(path: Path) -> str:
    path.write_bytes(b"not a database" * 100)
    return str(path)


def of_another_program(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE songs (title)")
    return str(path)


def newer(path: Path) -> str:
    open_store(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    return str(path)


def read_only(path: Path) -> str:
    open_store(path).close()
    return f"sqlite:///file:{path}?mode=ro&uri=true"


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (garbage, "is not a database: give the path of a database or of a new file"),
        (of_another_program, "it is not a database of ffcli"),
        (newer, "is newer than this program"),
        (read_only, "is read-only: make it writable, or give another --db"),
    ],
)
def test_bad_databases_are_refused_and_left_unchanged(
    inside: Inside, make: Callable[[Path], str], expected: str
) -> None:
    path = inside.ff.folder / "runs.db"
    db = make(path)
    before = path.read_bytes()
    for command in (["train", *SMALL], ["list-runs"], ["report"]):
        if command[0] == "train" or make != read_only:
            assert expected in inside.refused(*command, "--db", db)
    assert path.read_bytes() == before


def test_locked_database_fails_one_command_and_stores_nothing(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ffcli.running.run.LOCK_TIMEOUT", 0.5)
    monkeypatch.setattr("ffcli.store.sqlite.NOTICE_SECONDS", 0.1)
    open_store(inside.ff.db).close()
    with closing(sqlite3.connect(inside.ff.db, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        *_, notice, line = inside("train", *SMALL, "--epochs", "1", code=1).stderr.splitlines()
    assert notice == f"waiting for another process that writes to {inside.ff.db} (at most 0 s more)"
    assert line.startswith(f"ff: {inside.ff.db} is locked by another process: try again")
    assert inside.json("list-runs", "--all") == []
    assert inside.json("train", *SMALL, "--epochs", "1")["status"] == "completed"


def test_full_disk_interrupts_a_run_that_later_continues(inside: Inside, tiny_disk: Path) -> None:
    asked = ("train", "--hidden", "300", "--epochs", "1", "--db", str(tiny_disk / "ff.db"))
    assert "no space left to write" in inside.refused(*asked, "--quiet", code=1)
    (run,) = inside.json("list-runs", "--db", str(tiny_disk / "ff.db"))
    assert run["status"] == "interrupted"
    assert "no space left" in run["failure"]
    assert not list(tiny_disk.glob("*.states/*"))

    subprocess.run(["mount", "-o", "remount,size=32m", tiny_disk], check=True)
    assert inside.json(*asked, "--quiet")["status"] == "completed"
    assert inside.json("list-runs", "--db", str(tiny_disk / "ff.db"))[0]["id"] == run["id"]


def test_a_full_disk_behind_stdout_is_reported(ff: FF) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    command, environment = ff.command("data", "list", "--json"), ff.environment | {"PYTHONUNBUFFERED": ""}
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, env=environment, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "ff: no space left to write\n")


def test_a_full_disk_behind_stderr_does_not_stop_training(ff: FF) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            ff.command("train", *SMALL, "--epochs", "1", "--json"), env=ff.environment, stdout=subprocess.PIPE,
            stderr=full,
        )  # fmt: skip
    assert done.returncode == 0
    assert json.loads(done.stdout)["status"] == "completed"


def test_a_limit_on_file_sizes_is_like_a_full_disk(ff: FF) -> None:
    ff("data", "list")
    command = ["sh", "-c", 'ulimit -f 20; exec "$@"', "sh", *ff.command("train", *SMALL, "--epochs", "1")]
    done = subprocess.run(command, env=ff.environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ff: no space left to write")


def test_own_encoding_and_time_zone_do_not_matter(ff: FF) -> None:
    ff("train", *SMALL, "--epochs", "1", "--quiet")
    assert ff("report", PYTHONIOENCODING="ascii").stdout.isascii()
    assert ff("list-runs", TZ="UTC+99", COLUMNS="200").stdout.count(" UTC") == 1


def test_diverging_run_is_stored_as_failed(inside: Inside) -> None:
    asked = ("train", *SMALL, "--lr", "1e30", "--epochs", "3", "--quiet")
    out, err = inside(*asked, "--json", code=1)
    assert [line.startswith("ff: diverged in epoch 1, layer 1") for line in err.splitlines()][-1]
    assert err.count("diverged") == 1
    failed = inside.json("list-runs")[0]
    assert (failed["status"], failed["epochs_done"], failed["final_accuracy"]) == ("failed", 0, None)
    assert f'"id": "{failed["id"]}"' in out
    shown, _ = inside("show", failed["id"])
    assert "diverged in epoch 1, layer 1" in " ".join(shown.split())
