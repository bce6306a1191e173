"""One process trains a run: claiming, taking over, losing a claim."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text, update
from store_helpers import PROVENANCE, in_processes, make_config, make_epoch, try_to_claim

from ffcli.errors import ClaimLost, DamagedRun, RunBusy, RunStored
from ffcli.records import best_accuracy
from ffcli.store import claims, runs
from ffcli.store.database import Store, writing
from ffcli.store.liveness import STALE_AFTER, STALE_ELSEWHERE, Owner, this_process, utc_now
from ffcli.store.tables import RUN

ME = this_process()
CONFIG = make_config()

TRAINER = """
import sys, time
from ffcli.config import RunConfig
from ffcli.store import claims
from ffcli.store.database import open_store
from ffcli.store.liveness import this_process
from store_helpers import make_epoch

with open_store(sys.argv[1]) as store:
    claim = claims.claim(store, RunConfig.model_validate_json(sys.argv[2]), owner=this_process())
    claims.record_epoch(store, claim, make_epoch(1))
    print(claim.run_id, flush=True)
    time.sleep(60)
"""


def expire_heartbeat(store: Store, run_id: str) -> None:
    """Set the last heartbeat of a run to a time that counts as stale."""
    set_heartbeat(store, run_id, STALE_ELSEWHERE * 2)


def set_heartbeat(store: Store, run_id: str, age: timedelta) -> None:
    with writing(store) as connection:
        connection.execute(update(RUN).where(RUN.c.id == run_id).values(heartbeat=utc_now() - age))


def test_run_from_claim_to_finish(store: Store) -> None:
    claim = claims.claim(store, CONFIG, owner=ME, name="first", tags=["a", "b"], note="why")
    claims.add_provenance(store, claim, PROVENANCE)
    for epoch, accuracy in enumerate((9.8, 60.0, 70.0, 65.0)):
        claims.record_epoch(store, claim, make_epoch(epoch, accuracy))
    running = runs.find(store, CONFIG.key)
    assert running is not None
    assert (running.status, running.ended) == ("running", None)
    claims.finish(store, claim)
    run = runs.get(store, claim.run_id)
    assert run == runs.find(store, CONFIG.key)
    assert run.config == CONFIG
    assert (run.status, run.name, run.tags, run.note) == ("completed", "first", ("a", "b"), "why")
    assert (run.epochs_done, run.best_accuracy, run.final_accuracy, run.seconds) == (3, 70.0, 65.0, 6.0)
    assert run.provenance == (PROVENANCE,)
    assert run.ended is not None
    assert run.ended >= run.started
    assert run.started.utcoffset() == timedelta(0)
    assert runs.epochs(store, run.id)[1:] == [make_epoch(1, 60.0), make_epoch(2, 70.0), make_epoch(3, 65.0)]
    with pytest.raises(ClaimLost):
        claims.heartbeat(store, claim)


def test_only_one_process_gets_the_claim(store: Store) -> None:
    store.close()
    answers = in_processes(6, try_to_claim, store.path, CONFIG, ME)
    assert sorted(answers) == ["busy"] * 5 + ["claimed"]
    assert len(runs.list_runs(store)) == 1


def test_a_running_claim_is_busy_and_names_its_process(store: Store) -> None:
    claim = claims.claim(store, make_config(epochs=7), owner=ME)
    claims.record_epoch(store, claim, make_epoch(3))
    for force in (False, True):
        with pytest.raises(RunBusy, match=rf"{claim.run_id[:7]}.*process {ME.pid} on {ME.host}.*epoch 3 of 7"):
            claims.claim(store, CONFIG, owner=ME, force=force)


def test_run_of_a_killed_process_is_taken_over_at_once(store: Store) -> None:
    command = [sys.executable, "-c", TRAINER, str(store.path), CONFIG.model_dump_json()]
    path = f"{Path(__file__).parent}:{Path(__file__).parents[2]}"
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": path}) as process:
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        with pytest.raises(RunBusy):
            claims.claim(store, CONFIG, owner=ME)
        process.send_signal(signal.SIGKILL)
        while runs.get(store, run_id).status == "running":
            time.sleep(0.01)
        seen = runs.get(store, run_id)  # the process is a zombie: its exit status was not read yet
    assert (seen.status, seen.ended) == ("interrupted", seen.heartbeat)
    assert seen.failure is not None
    claim = claims.claim(store, CONFIG, owner=ME)
    assert (claim.run_id, claim.epochs_done) == (run_id, 1)
    assert runs.get(store, run_id).failure is None
    assert runs.get(store, run_id).status == "running"


def test_reused_pid_is_not_the_owner(store: Store) -> None:
    claims.claim(store, CONFIG, owner=ME)
    with pytest.raises(RunBusy):
        claims.claim(store, CONFIG, owner=ME)
    for seed, gone in enumerate((replace(ME, pid_started=ME.pid_started - 10), replace(ME, boot="another")), start=1):
        config = make_config(seed=seed)
        run_id = claims.claim(store, config, owner=gone).run_id
        assert claims.claim(store, config, owner=ME).run_id == run_id


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a process started without the clock")
def test_process_is_identified_without_the_clock(store: Store) -> None:
    """In clock ticks since the boot; a run of an older version has the time instead."""
    ticks = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    assert (ME.pid_started, ME.boot) == (float(ticks), Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    claims.claim(store, CONFIG, owner=Owner(ME.host, ME.pid, psutil.Process().create_time() - 1))
    with pytest.raises(RunBusy):
        claims.claim(store, CONFIG, owner=ME)


def test_run_that_another_process_ended_is_not_claimed(store: Store) -> None:
    """A process that looked the run up before must not train it again."""
    for end in (claims.finish, lambda store, claim: claims.fail(store, claim, "diverged in epoch 3", "diverged")):
        claim = claims.claim(store, make_config(epochs=2), owner=ME, force=True)
        for epoch in range(3):
            claims.record_epoch(store, claim, make_epoch(epoch))
        end(store, claim)
        with pytest.raises(RunStored, match=claim.run_id[:7]):
            claims.claim(store, make_config(epochs=2), owner=ME)
        assert runs.get(store, claim.run_id).status in ("completed", "failed")
    claim = claims.claim(store, make_config(epochs=2), owner=ME, force=True)
    claims.finish(store, claim)
    assert claims.claim(store, make_config(epochs=2), owner=ME).run_id == claim.run_id, "it has no epochs"


def test_remote_process_owns_its_run_until_the_heartbeat_expires(store: Store) -> None:
    elsewhere = Owner(f"not-{socket.gethostname()}", 1, 0.0)
    claim = claims.claim(store, CONFIG, owner=elsewhere)
    with pytest.raises(RunBusy):
        claims.claim(store, CONFIG, owner=ME)
    set_heartbeat(store, claim.run_id, STALE_AFTER * 2)
    assert runs.get(store, claim.run_id).status == "running", "the clocks of two hosts differ"
    expire_heartbeat(store, claim.run_id)
    assert runs.get(store, claim.run_id).status == "stale"
    claims.heartbeat(store, claim)
    assert runs.get(store, claim.run_id).status == "running"


def test_process_that_lost_its_run_writes_nothing(store: Store) -> None:
    lost = claims.claim(store, CONFIG, owner=ME)
    claims.record_epoch(store, lost, make_epoch(1, 40.0))
    expire_heartbeat(store, lost.run_id)
    current = claims.claim(store, CONFIG, owner=ME)
    assert current.run_id == lost.run_id
    before = runs.get(store, current.run_id), runs.epochs(store, current.run_id)
    writes: list[Callable[[], None]] = [
        lambda: claims.record_epoch(store, lost, make_epoch(2, 99.0)),
        lambda: claims.heartbeat(store, lost),
        lambda: claims.add_provenance(store, lost, PROVENANCE),
        lambda: claims.finish(store, lost),
        lambda: claims.interrupt(store, lost, "woken"),
        lambda: claims.fail(store, lost, "woken", "error"),
    ]
    for write in writes:
        with pytest.raises(ClaimLost, match=current.run_id[:7]):
            write()
    assert (runs.get(store, current.run_id), runs.epochs(store, current.run_id)) == before
    claims.record_epoch(store, current, make_epoch(2, 50.0))


def test_claiming_a_run_gives_up_earlier_stale_claims(store: Store) -> None:
    left = claims.claim(store, CONFIG, owner=ME)
    expire_heartbeat(store, left.run_id)
    claims.claim(store, make_config(seed=1), owner=ME)
    with pytest.raises(ClaimLost):
        claims.record_epoch(store, left, make_epoch(1))
    assert runs.get(store, left.run_id).status == "stale"


def test_taking_over_sets_new_epochs_and_keeps_the_name(store: Store) -> None:
    first = claims.claim(store, make_config(epochs=5), owner=ME, name="kept", tags=["old"])
    claims.interrupt(store, first, "Ctrl-C")
    assert runs.get(store, first.run_id).failure == "Ctrl-C"
    second = claims.claim(store, make_config(epochs=9), owner=ME, tags=["new"], note="more")
    claims.fail(store, second, "out of memory", "out of memory")
    assert (runs.get(store, first.run_id).status, runs.get(store, first.run_id).failure_kind) == (
        "failed",
        "out of memory",
    )
    claims.finish(store, claims.claim(store, make_config(epochs=3), owner=ME))
    run = runs.get(store, first.run_id)
    assert (run.name, run.tags, run.note) == ("kept", ("new",), "more")
    assert (run.failure, run.failure_kind) == (None, None)
    assert run.config == make_config(epochs=3)
    assert len(runs.list_runs(store)) == 1


def test_force_supersedes_the_earlier_run(store: Store) -> None:
    old = claims.claim(store, CONFIG, owner=ME)
    claims.finish(store, old)
    new = claims.claim(store, CONFIG, owner=ME, force=True)
    assert new.run_id != old.run_id
    assert runs.get(store, old.run_id).status == "superseded"
    assert [run.id for run in runs.list_runs(store)] == [new.run_id]
    found = runs.find(store, CONFIG.key)
    assert found is not None
    assert found.id == new.run_id


def test_damaged_run_can_be_superseded_but_not_continued(store: Store) -> None:
    damaged = claims.claim(store, CONFIG, owner=ME)
    claims.finish(store, damaged)
    with writing(store) as connection:
        connection.execute(text("UPDATE run SET config = '{}'"))
    with pytest.raises(DamagedRun, match=damaged.run_id[:7]):
        claims.claim(store, CONFIG, owner=ME)
    assert claims.claim(store, CONFIG, owner=ME, force=True).run_id != damaged.run_id


def test_retrained_epoch_replaces_the_stored_one(store: Store) -> None:
    claim = claims.claim(store, CONFIG, owner=ME)
    first = [make_epoch(0), make_epoch(1, 80.0, 20.0), make_epoch(2, 70.0, 30.0), make_epoch(3, None)]
    for metrics in [*first, make_epoch(3, 75.0, 25.0), make_epoch(3, 75.0, 25.0)]:
        claims.record_epoch(store, claim, metrics)
    run, epochs = runs.get(store, claim.run_id), runs.epochs(store, claim.run_id)
    assert len(epochs) == 4
    assert run.best_accuracy == best_accuracy(epochs) == 70.0
    assert (run.final_accuracy, run.seconds) == (75.0, 6.0)
    unmeasured = replace(make_epoch(2, None), goodness_positive=None, goodness_negative=None, dead_units=None)
    claims.record_epoch(store, claim, unmeasured)
    assert runs.epochs(store, claim.run_id) == epochs


def test_provenance_drops_segments_that_were_retrained(store: Store) -> None:
    claim = claims.claim(store, CONFIG, owner=ME)
    stretches = [replace(PROVENANCE, from_epoch=epoch, threads=i) for i, epoch in enumerate((0, 5, 9, 5))]
    for stretch in stretches:
        claims.add_provenance(store, claim, stretch)
    assert runs.get(store, claim.run_id).provenance == (stretches[0], stretches[3])
