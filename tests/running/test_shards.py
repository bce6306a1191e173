"""Sweeps without a scheduler: shares, and commands to run elsewhere."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

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
