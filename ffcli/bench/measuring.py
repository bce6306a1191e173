"""Timing by turns, so that a machine that is slow for a while slows down everything that is compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

Contestant = Callable[[], object]
"""A function to be timed. Each call does the same amount of work."""


def medians(*contestants: Contestant, seconds: float, min_rounds: int = 3, max_rounds: int = 15) -> list[float]:
    """Return the median time of each contestant in seconds.

    Args:
        contestants: called in turns: A B C A B C.
        seconds: approximate time for all rounds.
        min_rounds: rounds to measure even if they take longer than `seconds`.
        max_rounds: rounds after which to stop even if there is time left.
    """
    started = time.perf_counter()
    rounds: list[list[float]] = []
    while len(rounds) < min_rounds or (len(rounds) < max_rounds and _time_for_another(rounds, started, seconds)):
        rounds.append([timed(contestant) for contestant in contestants])
    return [statistics.median(times) for times in zip(*rounds, strict=True)]


def timed(contestant: Contestant) -> float:
    """Return the time of one call in seconds."""
    started = time.perf_counter()
    contestant()
    return time.perf_counter() - started


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Use `count` threads for matrix products inside the context."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _time_for_another(rounds: list[list[float]], started: float, seconds: float) -> bool:
    return time.perf_counter() - started + sum(rounds[-1]) <= seconds
