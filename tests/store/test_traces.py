"""Traces in the database: written with their epoch, replaced, merged, deleted with their run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text
from store_helpers import make_config, make_epoch

from ffcli.errors import ClaimLost, DamagedRun
from ffcli.records import HourTrace
from ffcli.store import claims, export, maintenance, runs, traces
from ffcli.store.claims import Claim
from ffcli.store.database import Store, open_store, writing
from ffcli.store.liveness import this_process
from ffcli.store.merge import merge
from ffcli.store.runs import Filters


def hour(number: int, phase: int = 1, drift: float = 0.5) -> list[HourTrace]:
    return [HourTrace(number, phase, layer, 1 / 3, 1e-17, drift * number, None, 0.25) for layer in (1, 2)]


def claimed(store: Store, seed: int = 0) -> Claim:
    return claims.claim(store, make_config(seed=seed), owner=this_process())


def test_an_epoch_stores_its_trace_and_replaces_an_earlier_one(store: Store) -> None:
    claim, other = claimed(store), claimed(store, seed=1)
    claims.record_epoch(store, other, make_epoch(1), hour(1))
    claims.record_epoch(store, claim, make_epoch(1), hour(2) + hour(1, drift=0.25) + hour(4, phase=3))
    claims.record_epoch(store, claim, make_epoch(2))
    assert traces.trace_of(store, claim.run_id) == hour(1, drift=0.25) + hour(2) + hour(4, phase=3)
    claims.record_epoch(store, claim, make_epoch(1), hour(1) + hour(3, phase=2))
    assert traces.trace_of(store, claim.run_id) == hour(1) + hour(2) + hour(3, phase=2) + hour(4, phase=3)
    assert traces.traced(store, claim.run_id) == {1: 1, 2: 1, 3: 2, 4: 3}
    assert traces.trace_of(store, other.run_id) == hour(1)

    with pytest.raises(ClaimLost):
        claims.record_epoch(store, replace(claim, token="stale"), make_epoch(3), hour(5))
    claims.finish(store, claim)
    assert max(traces.traced(store, claim.run_id)) == 4
    runs.delete(store, [claim.run_id])
    assert traces.trace_of(store, claim.run_id) == []
    assert traces.trace_of(store, other.run_id) == hour(1)


def test_merge_copies_traces_and_combines_those_of_one_run(store: Store, tmp_path: Path) -> None:
    with open_store(tmp_path / "theirs.db") as other:
        claim = claimed(other)
        claims.record_epoch(other, claim, make_epoch(1), hour(1))
        assert merge(store, other.path).taken == 1
        assert traces.trace_of(store, claim.run_id) == hour(1)
        claims.record_epoch(other, claim, make_epoch(1), hour(2))
        mine = claimed(store)
        claims.record_epoch(store, mine, make_epoch(1), hour(1, drift=0.75) + hour(3, phase=2))
        claims.finish(store, mine)
        merged = merge(store, other.path)
    assert (mine.run_id, merged.extended, merged.epochs) == (claim.run_id, 1, 0)
    assert traces.trace_of(store, claim.run_id) == hour(1, drift=0.75) + hour(2) + hour(3, phase=2)
    assert merge(store, tmp_path / "theirs.db").already_here == 1


@pytest.mark.parametrize("change", ["dead_units = x'ff00'", "drift = 9e999", "layer = 'x'", "phase = 0"])
def test_trace_that_cannot_be_read_is_reported(store: Store, tmp_path: Path, change: str) -> None:
    claim = claimed(store)
    claims.record_epoch(store, claim, make_epoch(0), hour(1)[:1])
    with writing(store) as connection:
        connection.execute(text(f"UPDATE trace SET {change}"))
    problem = f"run {claim.run_id[:7]} is damaged: its trace of hour 1 cannot be read"
    with pytest.raises(DamagedRun, match=problem):
        "".join(export.as_json(store, Filters()))
    with pytest.raises(DamagedRun, match=problem):
        traces.traced(store, claim.run_id)
    (found,) = maintenance.check(store.path).problems
    assert found.startswith(problem)
    with open_store(tmp_path / "here.db") as here:
        assert merge(here, store.path).left_out == 1
        assert runs.list_runs(here) == []


def test_json_export_has_traces(store: Store) -> None:
    claims.record_epoch(store, claimed(store), make_epoch(1), hour(1))
    claimed(store, seed=1)
    first, second = json.loads("".join(export.as_json(store, Filters(sort="oldest"))))
    assert [HourTrace(**row) for row in first["trace"]] == hour(1)
    assert (second["epochs"], second["trace"]) == ([], [])
    assert len("".join(export.as_csv(store, Filters())).splitlines()) == 2
