"""Measure a CUDA device: hours against plain autograd and two lower limits, and epochs per second of several processes.

    python tools/measure_gpu.py hours
    python tools/measure_gpu.py processes 1 4 16

`hours` prints Markdown tables (see docs/speed.md). The data are MNIST's from the data folder, or without those the
bundled sample.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from ffcli.bench import plain, products
from ffcli.bench.measuring import Contestant, medians
from ffcli.config import RunConfig
from ffcli.data import datasets
from ffcli.data.tensors import TrainingTensors, training_tensors
from ffcli.engine.graphs import Graphs, capture, play_hour
from ffcli.engine.labels import Labelled
from ffcli.engine.network import train_hour
from ffcli.engine.training import hour_settings, initial_state, train_epoch
from ffcli.machine import set_numerics
from ffcli.planning import resolve
from ffcli.settings import Settings

DEVICE = torch.device("cuda")
RUNS: tuple[dict[str, Any], ...] = ({"neg": "masks", "pos_phase": 4}, {"neg": "label", "unseparated": True})
PRECISIONS = ("float32", "tf32", "bf16")
CONTESTANTS = (
    "recorded",
    "without the kernel",
    "not recorded",
    "plain autograd",
    "one-element additions",
    "products alone",
)
UPDATES = {1: "fast", 5: "scaled", 50: "paper"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    hours = commands.add_parser("hours")
    hours.add_argument("--updates", type=int, nargs="+", default=list(UPDATES), choices=list(UPDATES))
    hours.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=list(PRECISIONS))
    hours.add_argument("--epochs", type=int, default=5, help="Epochs to time beside the hours.")
    processes = commands.add_parser("processes")
    processes.add_argument("counts", type=int, nargs="+")
    for command in (processes, commands.add_parser("worker")):
        command.add_argument("--precision", default="bf16")
        command.add_argument("--preset", default="scaled")
        command.add_argument("--pos-phase", type=int, default=4)
        command.add_argument("--seconds", type=float, default=8.0)
    given = parser.parse_args()
    match given.command:
        case "hours":
            print_hours(given)
        case "processes":
            print_processes(given)
        case "worker":
            train_when_told(given)


def print_hours(given: argparse.Namespace) -> None:
    """Print the time of an hour by precision and updates, of plain autograd, and of the two limits."""
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, batches of 512, one positive hour, milliseconds")
    print(f"| updates | products | {' | '.join(CONTESTANTS)} | kernels |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for updates in given.updates:
        for precision in given.precisions:
            hour_times, kernels = _hour_times(UPDATES[updates], precision)
            row = " | ".join(f"{1000 * seconds:.3f}" for seconds in hour_times)
            print(f"| {updates} | {precision} | {row} | {kernels} |", flush=True)
    print("\nseconds per epoch, with batches and negatives and without an evaluation, median and range")
    print("| updates | products | masks 4:1 | label, unseparated |")
    print("|---|---|---|---|")
    for updates in given.updates:
        for precision in given.precisions:
            cells = []
            for options in RUNS:
                times = _epoch_times(*_run(UPDATES[updates], precision, **options), epochs=given.epochs)
                cells.append(f"{statistics.median(times):.3f} ({min(times):.3f}-{max(times):.3f})")
            print(f"| {updates} | {precision} | {' | '.join(cells)} |", flush=True)


def print_processes(given: argparse.Namespace) -> None:
    """Print how many epochs a second several processes train together on one device."""
    print(f"{given.preset}, {given.precision}, masks {given.pos_phase}:1")
    for number in given.counts:
        options = ("--precision", given.precision, "--preset", given.preset, "--pos-phase", str(given.pos_phase))
        command = [sys.executable, __file__, "worker", *options, "--seconds", str(given.seconds)]
        workers = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(number)
        ]
        for worker in workers:
            assert worker.stdout
            worker.stdout.readline()
        for worker in workers:
            assert worker.stdin
            worker.stdin.write("go\n")
            worker.stdin.flush()
        rates = [float(worker.communicate()[0] or "nan") for worker in workers]
        print(f"{number} processes: {sum(rates):.2f} epochs a second together", flush=True)


def train_when_told(given: argparse.Namespace) -> None:
    """Train one epoch, wait for a line on standard input, train for a while, and print the epochs a second."""
    config, data = _run(given.preset, given.precision, neg="masks", pos_phase=given.pos_phase)
    state = initial_state(config, DEVICE)
    train_epoch(config, data, state, 1)
    print("ready", flush=True)
    sys.stdin.readline()
    hours, started = state.hour, time.perf_counter()
    per_epoch = hours

    class Enough(Exception):
        pass

    def look(state: Any) -> None:
        if state.hour % 20 == 0:
            torch.cuda.synchronize()
            if time.perf_counter() - started > given.seconds:
                raise Enough

    try:
        for epoch in count(2):
            train_epoch(config, data, state, epoch, observe=look)
    except Enough:
        print((state.hour - hours) / per_epoch / (time.perf_counter() - started), flush=True)


def _hour_times(preset: str, precision: str) -> tuple[list[float], int]:
    """Return the seconds of an hour for each contestant, and the number of its kernels."""
    config, data = _run(preset, precision, neg="masks", pos_phase=4)
    generator = torch.Generator(DEVICE).manual_seed(0)
    positive = Labelled(data.images[:512], data.labels[:512], data.amplitude)
    negative = Labelled(*data.negatives(positive.images, positive.labels, generator=generator), data.amplitude)
    state, graphs = initial_state(config, DEVICE), Graphs()
    hour = hour_settings(config, 0)
    recorded = partial(play_hour, graphs, state.network, hour, positive, negative)
    unfused = partial(play_hour, Graphs(), initial_state(config, DEVICE).network, hour, positive, negative)
    eager = partial(train_hour, initial_state(config, DEVICE).network, hour, positive, negative)
    for _ in range(3):
        recorded()
        eager()
    with patch("ffcli.engine.kernels._fused_on", lambda device: None):
        for _ in range(2):
            unfused()
    kernels = _kernels(eager)
    one = torch.zeros(1, device=DEVICE)

    def launches() -> Tensor:
        for _ in range(kernels):
            one.add_(1)
        return one

    def multiplications() -> Tensor:
        multiply()
        return one

    autograd = plain.plain_network(config).to(DEVICE)
    with torch.device(DEVICE):
        multiply = products.of_hour(config)
    multiply()

    def plain_hour() -> None:
        with torch.device(DEVICE):
            plain.train_hour(autograd, config, 0, positive, negative)

    _, replay_launches = capture(launches)
    _, replay_products = capture(multiplications)
    contestants: list[Contestant] = [recorded, unfused, eager, plain_hour, replay_launches, replay_products]
    calls = max(1, 50 // config.updates_per_batch)
    times = medians(*(partial(_waited, each, calls) for each in contestants), seconds=2)
    return [seconds / calls for seconds in times], kernels


def _waited(work: Callable[[], object], times: int) -> None:
    for _ in range(times):
        work()
    torch.cuda.synchronize()


def _kernels(work: Contestant) -> int:
    """Return how many kernels and copies `work` starts on the device."""
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as found:
        work()
        torch.cuda.synchronize()
    return sum(event.device_type.name == "CUDA" for event in found.events())


def _epoch_times(config: RunConfig, data: TrainingTensors, *, epochs: int) -> list[float]:
    state, times = initial_state(config, DEVICE), []
    for epoch in range(1, epochs + 2):
        started = time.perf_counter()
        train_epoch(config, data, state, epoch)
        torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return times[1:]


def _run(preset: str, precision: str, **options: Any) -> tuple[RunConfig, TrainingTensors]:
    named = os.environ.get("FFCLI_DATA_DIR")
    folder = Path(named) if named else datasets.data_folder(None, create=True)
    set_numerics(1, tf32=precision == "tf32")
    ref = datasets.locate("mnist", wanted="auto", folder=folder, notify=lambda line: print(line, file=sys.stderr))
    config = resolve(Settings(preset=preset, precision=precision, **options), ref, device="cuda")
    return config, training_tensors(datasets.load(ref, folder), config, DEVICE)


if __name__ == "__main__":
    main()
