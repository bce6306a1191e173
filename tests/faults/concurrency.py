"""Many processes at one database: equal starts, and writers and readers beside maintenance."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from .campaign import Case, Problems
from .warm import PATIENCE, Argument, ff, start
from .world import Bits, World, bits, check_sound, copy, differences, verdict

STARTS, WRITERS, READERS = 64, 16, 32
READS: tuple[tuple[Argument, ...], ...] = (
    ("list-runs", "--all"), ("report",), ("export", "--format", "json"), ("list-runs", "--json"),
)  # fmt: skip
MAINTENANCE: tuple[tuple[Argument, ...], ...] = (("db", "check"), ("db", "backup"), ("prune",))


def cases(world: World, folder: Path, seed: int, scale: float) -> Iterator[Case]:
    """Yield the cases, with bits to compare with."""
    apart = copy(world.stored, folder / "apart")
    for writer in range(WRITERS):
        done = ff(*world.train(seed=100 + writer), folder=apart)
        assert done.code == 0, done
    for number in range(max(1, round(scale))):
        equal = partial(_equal_starts, world)
        yield Case("equal starts of one run", f"crowd/equal-{number}", equal, faults=STARTS)
        crowd = partial(_crowd, world, bits(apart))
        name = "writers and readers beside maintenance"
        yield Case(name, f"crowd/mixed-{number}", crowd, faults=WRITERS + READERS)


def _equal_starts(world: World, rng: random.Random, folder: Path) -> Problems:
    """Start one run many times: one process trains it, the others answer, or say that another one trains it."""
    copy(world.empty, folder)
    arguments = world.train("--json", seed=11, epochs=40)
    running = []
    for _ in range(STARTS):
        running.append(start(*arguments, folder=folder))
        time.sleep(rng.choice((0, 0, 0.002, 0.02)))
    ended = [process.wait(PATIENCE) for process in running]
    trained = [done for done in ended if '"cached": false' in done.out]
    if len(trained) != 1:
        yield f"{len(trained)} processes trained the run to its end"
    for done in ended:
        yield from verdict(done, (0, 1))
        if done.code and "being trained" not in done.err:
            yield f"a process neither answered nor said who trains the run: {done.err}"
    yield from check_sound(folder)
    ((status, rows, weights),) = bits(folder).values()
    if status != "completed" or [row["epoch"] for row in rows] != list(range(41)) or not weights:
        yield f"the run is {status} with {len(rows)} epochs"


def _crowd(world: World, expected: Bits, rng: random.Random, folder: Path) -> Problems:
    """Train, read and maintain at once: every process succeeds, and nothing is lost."""
    copy(world.stored, folder)
    jobs = [world.train(seed=100 + writer) for writer in range(WRITERS)]
    jobs += [rng.choice(READS) for _ in range(READERS)]
    rng.shuffle(jobs)
    running = [start(*job, folder=folder) for job in jobs]
    for round_ in range(4):
        for arguments in MAINTENANCE:
            more = (f"copy-{round_}.db",) if arguments[-1] == "backup" else ()
            done = ff(*arguments, *more, folder=folder)
            yield from verdict(done, (0,))
            if more:
                yield from verdict(ff("db", "check", "--db", more[0], folder=folder), (0,))
    for process in running:
        yield from verdict(process.wait(PATIENCE), (0,))
    yield from check_sound(folder)
    # `prune` deletes the states of completed runs and superseded rows, which are not compared.
    yield from differences(bits(folder), expected)
