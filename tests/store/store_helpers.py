"""Configs, epochs and processes for the tests of the store."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from typing import Any

from ffcli.config import DataRef, Device, RunConfig
from ffcli.planning import resolve
from ffcli.records import EpochMetrics, Provenance
from ffcli.settings import Settings

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


def in_processes(count: int, work: Callable[[int], None]) -> None:
    """Run `work(i)` in `count` processes that start together. Raises AssertionError with what any of them raised."""
    context = multiprocessing.get_context("fork")
    start, failures = context.Barrier(count), context.SimpleQueue()

    def run(i: int) -> None:
        start.wait(timeout=30)
        try:
            work(i)
        except BaseException:
            failures.put(traceback.format_exc())
            raise

    processes = [context.Process(target=run, args=(i,)) for i in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert failures.empty(), failures.get()
    assert [process.exitcode for process in processes] == [0] * count
