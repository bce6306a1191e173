"""Time a default `ff train` on full MNIST, in turns with the same training without the engine:

    python tools/time_train.py --turns 3

The other side is plain autograd over a DataLoader of torchvision's items, every image evaluated under each label
through the whole network, as Forward-Forward is published; and the same with the items read once, into memory. Then
the command without its evaluations, and for one epoch only: the differences say what evaluation and all that happens
once take. Needs the full MNIST (`ff data fetch mnist`).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median

from ffcli.data import datasets
from ffcli.planning import resolve
from ffcli.settings import Settings

FOLDER = datasets.data_folder(None, create=False)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a default training, and the same without the engine.")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--data-dir", type=Path, default=FOLDER, help="where the full MNIST is")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--plain", choices=["items", "once"], help="only train without the engine")
    asked = parser.parse_args()
    if asked.plain:
        train_plainly(asked.data_dir, asked.epochs, once=asked.plain == "once")
        return
    folder, length = ("--data-dir", str(asked.data_dir)), ("--epochs", str(asked.epochs))
    commands = {
        "plain": [sys.executable, __file__, "--plain", "items", *length, *folder],
        "plain, read once": [sys.executable, __file__, "--plain", "once", *length, *folder],
        "ff train": ff_train(*folder, epochs=asked.epochs, eval_every=1),
        "without evaluations": ff_train(*folder, epochs=asked.epochs, eval_every=asked.epochs),
        "one epoch": ff_train(*folder, epochs=1, eval_every=1),
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(1, asked.turns + 1):
        for name, command in commands.items():
            taken[name].append(seconds(command))
            print(f"turn {turn}, {name}: {taken[name][-1]:.1f} s", flush=True)
    explain(asked.epochs, *(median(times) for times in taken.values()))


def explain(epochs: int, plain: float, in_memory: float, default: float, blind: float, short: float) -> None:
    """Seconds of each command, and where those of `ff train` go."""
    evaluation = (default - blind) / (epochs - 1)
    epoch = (blind - short) / (epochs - 1)
    once = short - epoch - 2 * evaluation
    shares = {"training": epochs * epoch, "evaluation": (epochs + 1) * evaluation, "all that happens once": once}
    print(f"ff train {default:.1f} s, plain autograd {plain:.1f} s: {default / plain:.2f} of its time")
    print(f"with items read once {in_memory:.1f} s: {default / in_memory:.2f} of its time")
    print("of it " + ", ".join(f"{name} {share / default:.0%}" for name, share in shares.items()))


def ff_train(*folder: str, epochs: int, eval_every: int) -> list[str]:
    asked = ("--dataset", "mnist", "--data", "full", "--epochs", str(epochs), "--eval-every", str(eval_every))
    return [sys.executable, "-m", "ffcli", "train", *asked, *folder, "--device", "cpu", "--quiet"]


def seconds(command: list[str]) -> float:
    """Of a whole process, with a new database. Its accuracy is printed, so that one sees that it did the work."""
    with tempfile.TemporaryDirectory(prefix="ffcli-") as place:
        started = time.perf_counter()
        known = {name: value for name, value in os.environ.items() if not name.startswith("FFCLI_")}
        environment = known | {"FFCLI_DB": str(Path(place, "runs.db"))}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
        taken = time.perf_counter() - started
    print("  " + done.stdout.splitlines()[1])
    return taken


def train_plainly(folder: Path, epochs: int, *, once: bool) -> None:
    """The default run, by autograd, on the items of the data set."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from ffcli.bench.items import items_of
    from ffcli.bench.plain import accuracy, plain_network, train_hour
    from ffcli.data.negatives import wrong_labels
    from ffcli.data.tensors import training_tensors
    from ffcli.engine.labels import Labelled

    ref = datasets.locate("mnist", wanted="full", folder=folder, notify=partial(print, file=sys.stderr))
    config = resolve(Settings(), ref)
    arrays = datasets.load(ref, folder)
    data = training_tensors(arrays, config, torch.device("cpu"))
    tested = Labelled(data.test_images, data.test_labels, data.amplitude)
    network, hour = plain_network(config), 0
    reached = [accuracy(network, tested, ref.classes)]
    with items_of(arrays, ref.train) as (items, _):
        if once:
            pixels, digits = zip(*items, strict=True)
            items = TensorDataset(torch.stack(pixels), torch.tensor(digits))
        for _ in range(epochs):
            for images, labels in DataLoader(items, batch_size=config.batch_size, shuffle=True):
                awake = Labelled(images, labels, data.amplitude)
                wrong = wrong_labels(labels, ref.classes, generator=torch.default_generator)
                train_hour(network, config, hour, awake, awake._replace(labels=wrong))
                hour += 1
            reached.append(accuracy(network, tested, ref.classes))
    print(f"plain autograd\naccuracy {reached[-1]:.2f} % after {epochs} epochs")


if __name__ == "__main__":
    main()
