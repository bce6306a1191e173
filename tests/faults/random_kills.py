"""Kill `train` and sweeps at random times, run the command again, and compare with an uninterrupted run."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil

from .campaign import Case, Problems
from .warm import PATIENCE, SECONDS, Argument, ff, start, wait_until
from .world import Bits, World, bits, check_sound, copy, differences, verdict, worker_processes

KILLS = 5
"""Kills of one run before it may end."""

VARIANTS: dict[str, tuple[Argument, ...]] = {
    "plain": (),
    "kept": ("--keep-state", "always", "--neg", "masks"),
    "traced": ("--trace", "1-4,9"),
    "cured": ("--cure", "replay:16"),
    "forced": ("--force", "--keep-state", "always", "--holdout", "20"),
}
EPOCHS = 25


def cases(world: World, folder: Path, seed: int, scale: float) -> Iterator[Case]:
    """Yield cases of killed runs and of killed sweeps."""
    for name, more in VARIANTS.items():
        arguments = world.train(*more, seed=7, epochs=EPOCHS)
        reference = copy(world.empty, folder / name)
        began = time.monotonic()
        done = ff(*arguments, folder=reference)
        assert done.code == 0, done
        check = partial(_killed_run, world, arguments, bits(reference), time.monotonic() - began)
        for number in range(max(1, round(4 * scale))):
            yield Case("random kills of train", f"kill/train/{name}-{number}", check)
    grid = _sweep(world)
    reference = copy(world.empty, folder / "sweep")
    began = time.monotonic()
    done = ff(*grid, folder=reference)
    assert done.code == 0, done
    for victim in ("driver", "worker"):
        check = partial(_killed_sweep, world, grid, bits(reference), time.monotonic() - began, victim)
        for number in range(max(1, round(2 * scale))):
            yield Case(f"random kills of a sweep's {victim}", f"kill/sweep/{victim}-{number}", check)


def _killed_run(
    world: World, arguments: tuple[Argument, ...], expected: Bits, seconds: float, rng: random.Random, folder: Path
) -> Problems:
    copy(world.empty, folder)
    for _ in range(KILLS):
        done = start(*arguments, folder=folder).kill(rng.uniform(0, seconds))
        if done.killed:
            yield 1
        else:
            yield from verdict(done, (0,))
        if rng.random() < 0.2:
            yield from check_sound(folder)
    yield from _ends_alike(arguments, expected, folder)


def _killed_sweep(
    world: World,
    arguments: tuple[Argument, ...],
    expected: Bits,
    seconds: float,
    victim: str,
    rng: random.Random,
    folder: Path,
) -> Problems:
    """Kill the driver twice, or its worker twice while the driver goes on."""
    copy(world.empty, folder)
    for _ in range(2 if victim == "driver" else 1):
        running = start(*arguments, folder=folder)
        driver = psutil.Process(running.pid)
        for _ in range(1 if victim == "driver" else 2):
            time.sleep(rng.uniform(0.2, 0.9) * seconds)
            workers: list[psutil.Process] = []
            with suppress(psutil.Error):
                workers = worker_processes(driver)
            for worker in workers if victim == "worker" else ():
                with suppress(psutil.Error):
                    worker.kill()
                    yield 1
        if victim == "worker":
            # A run that loses several workers in one epoch fails, and the command says so.
            yield from verdict(running.wait(PATIENCE), (0, 1))
            continue
        with suppress(ProcessLookupError):
            os.kill(running.pid, signal.SIGKILL)
        yield int(running.wait().killed)
        if not wait_until(partial(_have_ended, workers), SECONDS):
            yield "a worker outlives its driver"
    yield from _ends_alike(arguments, expected, folder)


def _ends_alike(arguments: tuple[Argument, ...], expected: Bits, folder: Path) -> Problems:
    """Run the command undisturbed: it ends with the same bits as if nothing had been killed."""
    yield from verdict(start(*arguments, folder=folder).wait(PATIENCE), (0,))
    yield from check_sound(folder)
    yield from differences(bits(folder), expected)


def _sweep(world: World) -> tuple[Argument, ...]:
    _, *settings = world.train()
    settings = settings[: settings.index("--seed")]
    return ("sweep", *settings, "--seeds", "0-2", "--epochs", str(4 * EPOCHS), "--workers", "1")


def _have_ended(processes: list[psutil.Process]) -> bool:
    with suppress(psutil.Error):
        return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)
    return True
