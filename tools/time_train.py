"""Time a default `ff train` on full MNIST, in turns with the same training without the engine:

    python tools/time_train.py --turns 3

The other side is plain autograd over torchvision's items, every image evaluated under each label through the whole
network, as the published code works. Then the command once more without its evaluations, and for one epoch only: the
differences say what evaluation and all that happens once take. Needs the full MNIST (`ff data fetch mnist`).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from ffcli.data import datasets
from ffcli.options import TrainOptions, resolve

EPOCHS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a default training, and the same without the engine.")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--data-dir", type=Path, default=datasets.default_folder(), help="where the full MNIST is")
    parser.add_argument("--plain", action="store_true", help="only train without the engine")
    asked = parser.parse_args()
    if asked.plain:
        train_plainly(asked.data_dir)
        return
    folder = ("--data-dir", str(asked.data_dir))
    commands = {
        "plain": [sys.executable, __file__, "--plain", *folder],
        "default": ff_train(*folder, epochs=EPOCHS, eval_every=1),
        "without evaluations": ff_train(*folder, epochs=EPOCHS, eval_every=EPOCHS),
        "one epoch": ff_train(*folder, epochs=1, eval_every=1),
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(1, asked.turns + 1):
        for name, command in commands.items():
            taken[name].append(seconds(command))
            print(f"turn {turn}, {name}: {taken[name][-1]:.1f} s", flush=True)
    explain(*(median(times) for times in taken.values()))


def explain(plain: float, default: float, blind: float, short: float) -> None:
    """Seconds of each command, which of them goes where."""
    evaluation = (default - blind) / (EPOCHS - 1)
    epoch = (blind - short) / (EPOCHS - 1)
    once = short - epoch - 2 * evaluation
    shares = {"training": EPOCHS * epoch, "evaluation": (EPOCHS + 1) * evaluation, "all that happens once": once}
    print(f"ff train {default:.1f} s, plain autograd {plain:.1f} s: {default / plain:.2f} of its time")
    print("of it " + ", ".join(f"{name} {share / default:.0%}" for name, share in shares.items()))


def ff_train(*folder: str, epochs: int, eval_every: int) -> list[str]:
    asked = ("--dataset", "mnist", "--data", "full", "--epochs", str(epochs), "--eval-every", str(eval_every))
    return [sys.executable, "-m", "ffcli", "train", *asked, *folder, "--quiet"]


def seconds(command: list[str]) -> float:
    """Of a whole process, with a new database. Its accuracy is printed, so that one sees that it did the work."""
    with tempfile.TemporaryDirectory(prefix="ffcli-") as place:
        started = time.perf_counter()
        environment = os.environ | {"FFCLI_DB": str(Path(place, "runs.db"))}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
        taken = time.perf_counter() - started
    print("  " + done.stdout.splitlines()[1])
    return taken


def train_plainly(folder: Path) -> None:
    """The default run, by autograd, on the items of the data set."""
    import torch

    from ffcli.bench.items import items_of
    from ffcli.bench.plain import accuracy, plain_network, train_hour
    from ffcli.data.tensors import training_tensors
    from ffcli.engine.labels import Labelled

    ref = datasets.locate("mnist", wanted="full", folder=folder, notify=print)
    config = resolve(TrainOptions(), ref, uses_masks=False)
    arrays = datasets.load(ref, folder)
    test = training_tensors(arrays, config, torch.device("cpu"))
    with items_of(arrays, ref.train) as (items, _):
        pixels, digits = zip(*items, strict=True)
    images, labels = torch.stack(pixels), torch.tensor(digits)
    tested = Labelled(test.test_images, test.test_labels, test.amplitude)
    network, hour = plain_network(config), 0
    reached = [accuracy(network, tested, ref.classes)]
    for _ in range(EPOCHS):
        for batch in torch.split(torch.randperm(len(labels)), config.batch_size):
            awake = Labelled(images[batch], labels[batch], test.amplitude)
            wrong = (awake.labels + torch.randint(1, ref.classes, (len(batch),))) % ref.classes
            train_hour(network, config, hour, awake, awake._replace(labels=wrong))
            hour += 1
        reached.append(accuracy(network, tested, ref.classes))
    print(f"plain autograd\naccuracy {reached[-1]:.2f} % after {EPOCHS} epochs")


if __name__ == "__main__":
    main()
