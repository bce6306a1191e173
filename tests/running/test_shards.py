"""Sweeps without a scheduler: shares, and commands to run elsewhere."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ff import FF
from hypothesis import given
from hypothesis import strategies as st

from ffcli.config import DataRef, RunConfig
from ffcli.estimate import operations_left
from ffcli.planning import in_shard, resolve
from ffcli.settings import Settings

if TYPE_CHECKING:
    from inside import Inside

pytest_plugins = ["inside"]

ROOT = Path(__file__).parents[2]

DATA = DataRef(
    name="mnist", source="full", fingerprint="0" * 64, features=784, classes=10, train=60_000, test=10_000,
    largest_class=11.35,
)  # fmt: skip


@st.composite
def runs(draw: st.DrawFn) -> list[RunConfig]:
    asked = draw(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 500), st.booleans()), min_size=1, max_size=40))
    made = [resolve(Settings(seed=seed, epochs=epochs, unseparated=joint), DATA) for seed, epochs, joint in asked]
    return list({run.key: run for run in made}.values())


@given(runs(), st.integers(1, 12))
def test_shards_are_disjoint_complete_and_balanced(configs: list[RunConfig], shards: int) -> None:
    shares = [in_shard(configs, number, shards) for number in range(1, shards + 1)]
    assert sum(map(len, shares)) == len(configs)
    assert set().union(*shares) == {config.key for config in configs}
    assert [in_shard(reversed(configs), number, shards) for number in range(1, shards + 1)] == shares
    cost = {config.key: operations_left(config) for config in configs}
    work = [sum(cost[key] for key in share) for share in shares]
    assert max(work) - min(work) <= max(cost.values()) * (1 + 1e-9)


def test_shards_cover_the_sweep_once(inside: Inside) -> None:
    planned = [
        {cell["key"] for cell in inside.json("sweep", "--table", "1", "--shard", f"{k}/5", "--dry-run")["cells"]}
        for k in range(1, 6)
    ]
    assert sum(map(len, planned)) == len(set().union(*planned)) == 36
    assert "0 of 0 cells to train" in inside("sweep", "--table", "1", "--shard", "40/40", "--dry-run").stdout
    for wrong in ("0/5", "6/5", "5", "a/b", "1/0"):
        assert "such as 3/16" in inside.refused("sweep", "--table", "1", "--shard", wrong)


def test_printed_commands_train_the_cells_of_the_sweep(ff: FF) -> None:
    grid = (
        "sweep", "--dataset", "mnist", "--hidden", "8,4", "--pos-phase", "1,2", "--balanced", "--epochs", "1",
        "--tag", "a b", "--beta1", "0.5",
    )  # fmt: skip
    printed = ff(*grid, "--print-commands").stdout.splitlines()
    assert len(printed) == 2
    for line in printed:
        arguments = subprocess.run(
            ["bash", "-c", f'ff() {{ printf "%s\\n" "$@"; }}; {line}'], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        ff(*arguments)
    assert ff(*grid, "--print-commands").stdout == ""
    assert ff.json(*grid)["cached"] == 2
    assert {run.tags for run in ff.runs()} == {("a b",)}


def test_slurm_example_equals_one_sweep(ff: FF, uninterrupted: FF) -> None:
    """The script runs as 16 processes, two at a time, on four cells: most shares are empty."""
    tables, grid = "--table 1 --table 2 --data full", (*GRID, "--neg", "label,masks")
    script = (ROOT / "examples" / "slurm" / "sweep.sh").read_text()
    assert tables in script
    (ff.folder / "sweep.sh").write_text(script.replace(tables, " ".join(grid)).replace("ff sweep", "$FF sweep"))
    environment = ff.environment | {"FF": f"{sys.executable} -m ffcli", "PYTHONPATH": str(ROOT)}

    def job(number: int) -> int:
        own = environment | {"SLURM_ARRAY_TASK_ID": str(number)}
        return subprocess.run(["bash", "sweep.sh"], cwd=ff.folder, env=own, check=False).returncode

    with ThreadPoolExecutor(2) as jobs:
        assert list(jobs.map(job, range(1, 17))) == [0] * 16
    shards = sorted(map(str, ff.folder.glob("shard-*.db")))
    assert len(shards) == 16
    ff("db", "merge", *shards)
    uninterrupted("sweep", *grid)
    assert {run.key: run.final_accuracy for run in ff.runs()} == {
        run.key: run.final_accuracy for run in uninterrupted.runs()
    }
    assert len(ff.runs()) == 4


GRID = ("--dataset", "mnist", "--hidden", "8", "--epochs", "1", "--pos-phase", "1,2")


@pytest.fixture
def uninterrupted(ff: FF) -> FF:
    folder = ff.folder / "uninterrupted"
    folder.mkdir()
    return FF(folder, ff.data)
