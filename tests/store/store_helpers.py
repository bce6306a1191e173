"""Configs, epochs and processes for the tests of the store."""

from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ffcli.config import DataRef, Device, RunConfig
from ffcli.errors import RunBusy
from ffcli.planning import resolve
from ffcli.records import EpochMetrics, Provenance
from ffcli.settings import Settings
from ffcli.store import claims, migrate
from ffcli.store.database import open_store
from ffcli.store.liveness import Owner, this_process

DATA = DataRef(
    name="mnist", source="full", fingerprint="f" * 64, features=784, classes=10, train=60000, test=10000,
    largest_class=11.35,
)  # fmt: skip

PROVENANCE = Provenance(
    from_epoch=0, ffcli="0.1.0", torch="2.8", python="3.11", device="cpu", threads=2, host="lab", revision=None
)


def make_config(*, data: DataRef = DATA, device: Device = "cpu", **options: Any) -> RunConfig:
    return resolve(Settings(**options), data, device=device)


def make_epoch(epoch: int, accuracy: float | None = 50.0, validation: float | None = None) -> EpochMetrics:
    return EpochMetrics(
        epoch=epoch,
        hour=epoch * 118,
        phase="positive" if epoch else None,
        accuracy=accuracy,
        validation_accuracy=validation,
        loss_positive=0.5 if epoch else None,
        loss_negative=None,
        goodness_positive=(1.5, 2.5, 3.5),
        goodness_negative=(0.25, 0.5, 1e-9),
        dead_units=(0.0, 0.5, 1.0),
        seconds=1.5,
    )


def in_processes(count: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Run `work(i, *arguments)` in `count` processes that start together; return what each returns.

    `work` is a function of this module. The processes are forked from a server without threads.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["store_helpers", "alembic.command", "psutil", "sqlalchemy.dialects.sqlite"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        barrier, results = context.Barrier(count), context.SimpleQueue()
        processes = [context.Process(target=_work, args=(barrier, results, work, i, *arguments)) for i in range(count)]
        for process in processes:
            process.start()
    answers = [results.get() for _ in processes]
    for process in processes:
        process.join()
    failures = [trace for trace, _ in answers if trace]
    assert not failures, failures[0]
    return [answer for _, answer in answers]


def _work(barrier: Any, results: Any, work: Callable[..., Any], *arguments: Any) -> None:
    try:
        barrier.wait(timeout=120)
        results.put((None, work(*arguments)))
    except BaseException:
        results.put((traceback.format_exc(), None))
        raise


def try_to_claim(_: int, path: Path, config: RunConfig, owner: Owner) -> str:
    with open_store(path) as store:
        try:
            claims.claim(store, config, owner=owner)
        except RunBusy:
            return "busy"
    return "claimed"


def open_database(_: int, path: Path) -> None:
    open_store(path).close()


def open_and_claim(number: int, path: Path) -> None:
    with open_store(path) as store:
        claims.claim(store, make_config(seed=number), owner=this_process())


def record_a_run(number: int, path: Path, epochs: int) -> None:
    with open_store(path) as store:
        claim = claims.claim(store, make_config(seed=number), owner=this_process())
        for epoch in range(1, epochs + 1):
            claims.record_epoch(store, claim, make_epoch(epoch))
        claims.finish(store, claim)


def upgrade(_: int, path: Path, folder: Path) -> None:
    migrate.upgrade(path, folder=folder)
