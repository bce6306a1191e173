"""A small database with several seeds and with hostile names, and the server in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ff import FF

from ffcli.config import DataRef, RunConfig
from ffcli.planning import resolve
from ffcli.records import EpochMetrics
from ffcli.settings import parse
from ffcli.store.claims import Claim, claim, finish, record_epoch
from ffcli.store.database import Store
from ffcli.store.liveness import this_process

SCRIPT = "<script>alert(1)</script>"
DATASET = "\"><img src=x onerror=alert(2)>'\x1b[31m"
TAG = "</script><script>alert(3)</script>"


def fill(store: Store) -> None:
    """Store finished runs: three seeds of two cells, another dataset, and one that hostile names label."""
    for seed in range(3):
        for schedule, accuracies in ((1, (50.0, 80.0 + seed)), (16, (40.0, 60.0 + 9 * seed))):
            train(store, accuracies, neg="masks", dataset="fashion", pos_phase=schedule, seed=seed)
    train(store, (20.0, 30.0), name=SCRIPT, tags=(TAG, "night"), note=SCRIPT, dataset="mnist", pos_phase=3)
    train(store, (20.0, 90.0), dataset=DATASET, pos_phase=1)


def train(store: Store, accuracies: tuple[float, ...], **labels: Any) -> None:
    """Store a finished run with these accuracies after each epoch."""
    mine = begin(store, len(accuracies), **labels)
    for epoch, accuracy in enumerate((10.0, *accuracies)):
        add_epoch(store, mine, epoch, accuracy)
    finish(store, mine)


def begin(
    store: Store,
    epochs: int,
    *,
    dataset: str,
    name: str | None = None,
    tags: tuple[str, ...] = (),
    note: str | None = None,
    **options: Any,
) -> Claim:
    """Store a run that is being trained."""
    return claim(store, config(dataset, epochs, options), owner=this_process(), name=name, tags=list(tags), note=note)


def config(dataset: str, epochs: int, options: dict[str, Any]) -> RunConfig:
    data = DataRef(
        name=dataset, source="full", fingerprint=dataset.encode().hex().ljust(64, "0")[:64], features=784, classes=10,
        train=60_000, test=10_000, largest_class=10.0,
    )  # fmt: skip
    return resolve(parse({"epochs": epochs, **options}), data)


def add_epoch(store: Store, mine: Claim, epoch: int, accuracy: float) -> None:
    """Record an epoch of a run that is being trained."""
    layers = (1.5, float("nan"), 0.25)
    metrics = EpochMetrics(
        epoch, 118 * epoch, "negative" if epoch else None, accuracy, None, 0.5, 0.5, layers, layers, (0.0, 0.5, 1.0),
        seconds=1.0,
    )  # fmt: skip
    record_epoch(store, mine, metrics)


@contextmanager
def serving(ff: FF, *arguments: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Yield the port and the process of `ff serve`."""
    command = ff.command("serve", *arguments)
    process = subprocess.Popen(
        command, env=ff.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    with process:
        try:
            assert process.stdout is not None
            found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\n", process.stdout.readline())
            assert found, process.stderr and process.stderr.read()
            yield int(found[1]), process
        finally:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
