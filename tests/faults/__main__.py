"""Run the campaign, print a table, and exit with 1 if anything failed."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from rich.console import Console
from rich.table import Table

from . import archives, cluster_kills, concurrency, damage, kill_points, random_kills, warm, world
from .campaign import Case, Outcome, Row, run_cases, selected

PARTS = {
    "point": kill_points,
    "kill": random_kills,
    "cluster": cluster_kills,
    "damage": damage,
    "crowd": concurrency,
    "archive": archives,
}
"""The modules of cases, by the first word of their names."""

MINUTES = 10.0
"""Limit at scale 1."""

REQUIRED = {
    "kills": (200, ("kill", "random kills")),
    "kill points": (100, ("kill",)),
    "damaged inputs": (600, ("damaged",)),
}
"""The smallest numbers of faults of a whole campaign at scale 1, and how the rows that count begin."""

SHIM = "FAULT_SHIM"
"""Environment variable that names the folder of the shim after the restart that loads it; empty without a compiler."""


def main() -> None:
    """Run the campaign."""
    options = _options()
    if SHIM not in os.environ:
        _restart_with_shim()
    started = time.monotonic()
    if shim := os.environ[SHIM]:
        shutil.rmtree(shim)
    else:
        print("no C compiler: the kill points are left out", file=sys.stderr)
    os.environ.pop("LD_PRELOAD", None)
    warm.import_everything()
    # In memory, where it can be: that a process is killed does not depend on the disk, but its time does.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="ff-faults-", dir=memory) as name:
        folder = Path(name).resolve()
        cases = selected(list(_cases(folder, options)), options.only)
        seconds = MINUTES * 60 * options.scale - (time.monotonic() - started)
        outcome = run_cases(cases, folder, seed=options.seed, seconds=seconds, processes=2 * (os.cpu_count() or 1))
    _print(outcome, options.seed, options.scale, time.monotonic() - started)
    too_few = list(_too_few(outcome, with_points=bool(shim))) if options.scale >= 1 and not options.only else []
    for line in too_few:
        print(line)
    sys.exit(1 if outcome.failures or too_few or not cases else 0)


def _too_few(outcome: Outcome, *, with_points: bool) -> Iterator[str]:
    for what, (required, beginnings) in REQUIRED.items():
        found = sum(row.faults for title, row in outcome.rows.items() if title.startswith(beginnings))
        print(f"{what}: {found:,}")
        if found < required and (with_points or "kill" not in what):
            yield f"FAILED: fewer than {required} {what}: give more time, or a less busy machine"


def _cases(folder: Path, options: argparse.Namespace) -> Iterator[Case]:
    shared = world.build(folder / "world")
    for word, part in PARTS.items():
        if not options.only or fnmatch(word, options.only.partition("/")[0]):
            place = folder / word
            place.mkdir()
            yield from part.cases(shared, place, options.seed, options.scale)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    seed = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(10**6))
    parser.add_argument("--seed", type=int, default=seed, help="decides what is tried; default: FAULT_SEED, or random")
    parser.add_argument("--scale", type=float, default=1.0, help=f"times as many cases, and times {MINUTES:g} minutes")
    parser.add_argument("--only", metavar="NAME", help="only cases whose names begin with NAME, or match it as a glob")
    return parser.parse_args()


def _restart_with_shim() -> None:
    """Start this program again with the shim loaded, and without threads of libraries, which no fork survives."""
    folder = Path(tempfile.mkdtemp(prefix="ff-faults-shim-"))
    library = warm.compile_shim(folder)
    if library is None:
        folder.rmdir()
    more = {"LD_PRELOAD": str(library), SHIM: str(folder)} if library else {SHIM: ""}
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-m", "tests.faults", *sys.argv[1:]], os.environ | one_thread | more)


def _print(outcome: Outcome, seed: int, scale: float, seconds: float) -> None:
    table = Table(title=f"faults: seed {seed}, scale {scale:g}, {seconds / 60:.1f} minutes")
    table.add_column("what was tried")
    for column in ("cases", "faults", "failed", "not tried", "seconds"):
        table.add_column(column, justify="right")
    rows = list(outcome.rows.items())
    total = Row(*(sum(getattr(row, name) for _, row in rows) for name in Row.__slots__))
    for title, row in (*rows, ("total", total)):
        numbers = (row.cases, row.faults, row.failed, row.left, round(row.seconds))
        table.add_row(title, *(f"{number:,}" for number in numbers), end_section=row is rows[-1][1] if rows else False)
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    for name, problems in outcome.failures:
        console.print(f"\nFAILED {name}", style="bold", markup=False)
        for problem in problems:
            console.print(f"  {problem}", markup=False, soft_wrap=True)
        console.print(f"  python -m tests.faults --seed {seed} --scale {scale:g} --only {name}", markup=False)


if __name__ == "__main__":
    main()
