"""Fill a new database with synthetic runs, to measure the speed of `ff`:

    python tools/fill_database.py runs.db --runs 10000 --epochs 20
    time ff report --db runs.db
    time ff list-runs --db runs.db

The runs are the cells of the paper's two tables, again and again under the next seed; their figures are made up. Of
every hundred one is superseded and one was interrupted half-way. The same arguments give the same figures.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import insert

from ffcli import __version__
from ffcli.config import DataRef, RunConfig
from ffcli.planning import resolve, table_cells
from ffcli.records import EpochMetrics, Provenance, best_accuracy, epoch_json
from ffcli.settings import parse
from ffcli.store.database import open_store, writing
from ffcli.store.mapping import config_columns
from ffcli.store.tables import EPOCH, RUN

FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
RUNS_AT_ONCE = 500
"""Inserted in one statement: about 10,000 epochs, 20 MB of memory."""

PROVENANCE = Provenance(
    from_epoch=0, ffcli=__version__, torch="2.6.0", python="3.11.0", device="cpu", threads=1, host="synthetic",
    revision=None,
)  # fmt: skip


def main() -> None:
    asked = read_arguments()
    fill(asked.path, runs=asked.runs, epochs=asked.epochs)
    print(f"{asked.path}: {asked.runs:,} runs of {asked.epochs} epochs, {asked.path.stat().st_size / 1e6:.0f} MB")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fill a new database with synthetic runs.")
    parser.add_argument("path", type=Path, help="the database, which must not exist")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=20, help="of each run")
    asked = parser.parse_args()
    if asked.path.exists():
        parser.error(f"{asked.path} is there already: give a new file")
    return asked


def fill(path: Path, *, runs: int, epochs: int) -> None:
    """Make the database `path` with the given number of runs in one transaction."""
    random = Random(0)
    wanted = enumerate(islice(configs(epochs), runs))
    with open_store(path) as store, writing(store) as connection:
        while chunk := list(islice(wanted, RUNS_AT_ONCE)):
            rows = [synthetic_run(number, config, random) for number, config in chunk]
            connection.execute(insert(RUN), [run for run, _ in rows])
            connection.execute(insert(EPOCH), [epoch for _, epochs_of_run in rows for epoch in epochs_of_run])


def configs(epochs: int) -> Iterator[RunConfig]:
    """The cells of the paper's tables under seed 0, then under seed 1, and so on."""
    data = {
        name: DataRef(
            name=name, source="full", fingerprint=name.encode().hex().ljust(64, "0"), features=784, classes=10,
            train=60_000, test=10_000, largest_class=largest,
        )
        for name, largest in (("mnist", 11.35), ("fashion", 10.0))
    }  # fmt: skip
    cells = table_cells((1, 2))
    for seed in count():
        for cell in cells:
            options = parse(cell | {"seed": seed, "epochs": epochs})
            yield resolve(options, data[options.dataset])


def synthetic_run(number: int, config: RunConfig, random: Random) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The run's row and its epochs' rows."""
    status = {98: "interrupted", 99: "superseded"}.get(number % 100, "completed")
    done = config.epochs // 2 if status == "interrupted" else config.epochs
    epochs = [synthetic_epoch(epoch, config, random) for epoch in range(done + 1)]
    seconds = sum(epoch.seconds for epoch in epochs)
    started = FIRST_DAY + timedelta(minutes=number)
    ended = started + timedelta(seconds=seconds)
    run = {
        "id": f"{random.getrandbits(128):032x}", "key": config.key, "status": status, "name": None, "note": None,
        "tags": ("synthetic",), "failure": "Ctrl-C" if status == "interrupted" else None, "failure_kind": None,
        **config_columns(config),
        "provenance": (PROVENANCE,), "started": started, "ended": ended, "heartbeat": ended, "token": None,
        "host": PROVENANCE.host, "pid": 1, "pid_started": 0.0, "epochs_done": done, "seconds": seconds,
        "best_accuracy": best_accuracy(epochs), "final_accuracy": epochs[-1].accuracy,
    }  # fmt: skip
    return run, [{"run_id": run["id"], **epoch_json(epoch)} for epoch in epochs]


def synthetic_epoch(epoch: int, config: RunConfig, random: Random) -> EpochMetrics:
    learned = 1 - math.exp(-epoch / 5)
    layers = range(len(config.hidden))
    return EpochMetrics(
        epoch=epoch,
        hour=epoch * config.batches,
        phase=("positive" if config.schedule.separated else "joint") if epoch else None,
        accuracy=round(10 + 75 * learned + random.uniform(-2, 2), 2),
        validation_accuracy=None,
        loss_positive=1 - learned / 2 + random.uniform(0, 0.1) if epoch else None,
        loss_negative=1 - learned / 2 + random.uniform(0, 0.1) if epoch else None,
        goodness_positive=tuple(1 + 2 * learned + random.random() for _ in layers),
        goodness_negative=tuple(1 - learned / 2 + random.random() for _ in layers),
        dead_units=tuple(random.randrange(500) / 500 for _ in layers),
        seconds=random.uniform(4, 6),
    )


if __name__ == "__main__":
    main()
