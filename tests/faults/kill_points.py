"""Kill, halve a write, or fail exactly at one of the system calls that change a file."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ffcli.store.migrate import run_migrations
from ffcli.store.sqlite import BEGIN, IMMEDIATE, engine_for

from . import warm
from .campaign import Case, Problems
from .warm import Argument, Fault, ff
from .world import Bits, World, bits, check_sound, copy, database, differences, listing, verdict

PARTS: dict[warm.Mode, str] = {
    "kill": "kill before a system call",
    "half": "kill in the middle of a write",
    "EIO": "input/output error at a system call",
    "ENOSPC": "full disk from a system call on",
}
SHARE: dict[warm.Mode, float] = {"kill": 1.0, "half": 0.5, "EIO": 0.4, "ENOSPC": 0.4}
"""Number of points of each mode, as a share of the points of a command."""
POINTS = 10
"""Most points of one command at scale 1."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A command that is interrupted, and how it ends without interruption."""

    name: str
    start: Path
    """The folder that it begins with."""
    arguments: tuple[Argument, ...]
    repeated: tuple[int, ...]
    """Exit codes when it runs again after it may have finished."""
    calls: int
    bits: Bits
    files: Sequence[str]


def cases(world: World, folder: Path, seed: int, scale: float) -> Iterator[Case]:
    """Yield a case for each command and point; none without the shim."""
    for subject in _subjects(world, folder) if warm.has_shim() else ():
        for mode, share in SHARE.items():
            count = min(subject.calls, max(1, round(POINTS * share * scale)))
            points = random.Random(f"{seed} {subject.name} {mode}").sample(range(1, subject.calls + 1), count)
            for n in sorted(points):
                check = partial(_interrupted, subject, Fault(mode, n))
                yield Case(PARTS[mode], f"point/{subject.name}/{mode}-{n}", check)


def _subjects(world: World, folder: Path) -> Iterator[Subject]:
    with_state = next(path.name[:32] for path in sorted((world.stored / "db").glob("*/*.state.safetensors")))
    nothing = folder / "nothing"
    nothing.mkdir()
    older = copy(world.stored, folder / "older")
    _downgrade(database(older))
    commands: dict[str, tuple[Path, tuple[Argument, ...], tuple[int, ...]]] = {
        "train-first": (nothing, world.train(), (0,)),
        "train": (world.stored, world.train("--trace", "1-3", seed=3), (0,)),
        "train-longer": (world.stored, world.train("--keep-state", "always", epochs=5), (0,)),
        "train-force": (world.stored, world.train("--keep-state", "always", "--force"), (0,)),
        "prune": (world.stored, ("prune",), (0,)),
        "delete": (world.stored, ("delete", with_state, "--yes"), (0, 2)),
        "merge": (world.stored, ("db", "merge", database(world.other)), (0,)),
        "backup": (world.stored, ("db", "backup", "out.db"), (0, 2)),
        "upgrade": (older, ("db", "upgrade"), (0,)),
        "prepare": (nothing, (*world.train("--dry-run"), "--data-dir", "data"), (0,)),
        "import": (nothing, ("data", "import", "tiny", world.idx), (0,)),
    }
    for name, (start, arguments, repeated) in commands.items():
        reference = copy(start, folder / f"reference-{name}")
        done = ff(*arguments, folder=reference, fault=Fault("count"))
        assert done.code == 0, done
        yield Subject(name, start, arguments, repeated, done.calls, _bits(reference), listing(reference))


def _interrupted(subject: Subject, fault: Fault, rng: random.Random, folder: Path) -> Problems:
    """Interrupt a command at one point, and run it again."""
    copy(subject.start, folder)
    done = ff(*subject.arguments, folder=folder, fault=fault)
    if fault.mode in ("kill", "half"):
        yield int(done.killed)
        if not done.killed:
            yield from verdict(done, (0,))
    else:
        yield int(done.calls >= fault.n)
        yield from verdict(done)
    after = list(check_sound(folder))
    again = ff(*subject.arguments, folder=folder)
    yield from verdict(again, subject.repeated)
    if after:
        yield from (f"after {fault.mode} at call {fault.n}: {problem}" for problem in check_sound(folder))
    yield from differences(_bits(folder), subject.bits)
    # A run that was interrupted while it was forced leaves one more superseded row; a backup is one more file.
    extra = [name for name in listing(folder) if name not in subject.files]
    yield from (f"the file {name} is left" for name in extra if not name.endswith(".bak"))
    yield from (f"the file {name} is missing" for name in set(subject.files) - set(listing(folder)))


def _bits(folder: Path) -> Bits:
    return bits(folder) if database(folder).exists() else {}


def _downgrade(path: Path) -> None:
    """Take a database back by one revision."""
    engine = engine_for(path, foreign_keys=False, pooled=False).execution_options(**{BEGIN: IMMEDIATE})
    with engine.begin() as connection:
        run_migrations(connection, target="-1")
    engine.dispose()
