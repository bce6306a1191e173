"""Cases: how they are declared, distributed over processes, and counted."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

Problems = Iterator[str | int]
"""What is wrong; a number adds to the count of faults that were tried."""

Check = Callable[[random.Random, Path], Problems]
"""Tries something in an empty folder, with random numbers of its own."""


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to try."""

    part: str
    """The row of the table."""
    name: str
    """Unique; begins with a word for its part, so that `--only` selects by pattern."""
    check: Check
    faults: int = 1
    """Number of damaged files or processes, unless the check counts them."""


@dataclass(slots=True)
class Row:
    """The counts of one part."""

    cases: int = 0
    faults: int = 0
    failed: int = 0
    left: int = 0
    """Not tried, because the time was over."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was tried and what failed."""

    rows: dict[str, Row]
    failures: list[tuple[str, list[str]]] = field(default_factory=list)


def run_cases(cases: Sequence[Case], folder: Path, *, seed: int, seconds: float, processes: int) -> Outcome:
    """Run cases until the time is over: the same share of every part at any time, in random order within a part.

    Args:
        cases: what to try.
        folder: where each case gets an empty folder of its own.
        seed: decides the order and the random numbers of every case.
        seconds: time after which no case is started.
        processes: number of cases at a time.
    """
    outcome = Outcome({case.part: Row() for case in cases})
    for case in cases:
        outcome.rows[case.part].left += 1
    numbers = list(range(len(cases)))
    random.Random(seed).shuffle(numbers)
    rank: Counter[str] = Counter()
    share = {}
    for number in numbers:
        part = cases[number].part
        rank[part] += 1
        # Damaged inputs come first: of them the largest number is required.
        share[number] = (rank[part] - 0.5) / outcome.rows[part].left * (0.75 if part.startswith("damaged") else 1)
    order = sorted(numbers, key=share.__getitem__)
    deadline = time.monotonic() + seconds
    for number, taken, faults, problems in _results(cases, order, folder, seed, deadline, processes):
        case, row = cases[number], outcome.rows[cases[number].part]
        row.left -= 1
        row.cases += 1
        row.faults += faults
        row.seconds += taken
        if problems:
            row.failed += 1
            outcome.failures.append((case.name, problems))
            print(f"FAILED {case.name}: {problems[0]}", flush=True)
    return outcome


def selected(cases: Sequence[Case], pattern: str | None) -> list[Case]:
    """Return the cases whose names match the pattern, or begin with it."""
    return [case for case in cases if not pattern or fnmatch(case.name, pattern) or case.name.startswith(pattern)]


def _results(
    cases: Sequence[Case], order: Sequence[int], folder: Path, seed: int, deadline: float, processes: int
) -> Iterator[tuple[int, float, int, list[str]]]:
    """Yield number, seconds, faults and problems of each case as it ends. Processes share a pipe of numbers."""
    numbers, results = os.pipe(), os.pipe()
    os.set_blocking(numbers[1], False)
    waiting = os.write(numbers[1], b"".join(struct.pack("I", number) for number in order))
    assert waiting == 4 * len(order), "more cases than a pipe holds"
    os.close(numbers[1])
    pids = []
    sys.stdout.flush()
    for _ in range(processes):
        if (pid := os.fork()) == 0:
            os.close(results[0])
            while time.monotonic() < deadline and (raw := os.read(numbers[0], 4)):
                number = struct.unpack("I", raw)[0]
                started = time.monotonic()
                found = _try(cases[number], folder / f"case-{number}", seed)
                problems = [problem[:320] for problem in found if isinstance(problem, str)]
                counts = [count for count in found if isinstance(count, int)] or [cases[number].faults]
                line = json.dumps([number, time.monotonic() - started, sum(counts), problems[:2]])
                os.write(results[1], line.encode() + b"\n")  # short enough to be written at once
            os._exit(0)
        pids.append(pid)
    os.close(results[1])
    os.close(numbers[0])
    with os.fdopen(results[0], encoding="utf-8") as lines:
        yield from map(json.loads, lines)
    for pid in pids:
        os.waitpid(pid, 0)


def _try(case: Case, folder: Path, seed: int) -> list[str | int]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        return list(case.check(random.Random(f"{seed} {case.name}"), folder))
    except TimeoutError as error:
        return [f"hangs: {error}"]
    except Exception:
        return [f"the campaign itself failed: {' '.join(traceback.format_exc().split())[-500:]}"]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
