"""Timing by turns: what slows the machine for a while slows every contestant alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

Contestant = Callable[[], object]

LEAST, MOST = 3, 15
"""Turns of each contestant, whatever the time allowed."""


def medians(*contestants: Contestant, seconds: float, least: int = LEAST, most: int = MOST) -> list[float]:
    """Median seconds of each contestant. They take turns, A B C A B C, until about `seconds` are over."""
    started = time.perf_counter()
    rounds: list[list[float]] = []
    while len(rounds) < least or (len(rounds) < most and _time_for_another(rounds, started, seconds)):
        rounds.append([timed(contestant) for contestant in contestants])
    return [statistics.median(times) for times in zip(*rounds, strict=True)]


def timed(contestant: Contestant) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    contestant()
    return time.perf_counter() - started


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads for matrix products; afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _time_for_another(rounds: list[list[float]], started: float, seconds: float) -> bool:
    return time.perf_counter() - started + sum(rounds[-1]) <= seconds
