"""How the time of an hour and of an evaluation grows with the work, compared with the formula of `ffcli.estimate`.

One quantity is varied at a time; the others keep their default values. The formula counts the operations of the matrix
products. Their rate on this machine is measured once, with the default values (with one thread if the number of threads
is varied). Measured and predicted times differ where the rate is different: small products have a higher overhead,
large ones do not fit in the processor's cache, and threads wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from ffcli.bench import ours
from ffcli.bench.measuring import Contestant, medians, timed, using_threads
from ffcli.config import DataRef, RunConfig
from ffcli.engine.labels import Labelled
from ffcli.estimate import evaluation_operations, hour_operations
from ffcli.machine import cores
from ffcli.planning import resolve
from ffcli.settings import Settings
from ffcli.text import counted

What = Literal["hour", "evaluation"]
Varied = dict[What, dict[str, tuple[int, ...]]]
"""For hours and for evaluations: the values of each quantity."""

FEATURES = 784
IMAGES = 1000
"""Images of an evaluation: one of N images takes N / IMAGES times as long."""

WIDTHS, DEPTHS, CLASSES = (100, 250, 500, 1000, 2000, 4000), (1, 2, 3, 4, 5, 6), (2, 10, 50, 100)

DEFAULT = Settings()
VARIED: Varied = {
    "hour": {
        "batch size": (64, 128, 256, 512, 1024, 2048),
        "width": WIDTHS,
        "depth": DEPTHS,
        "updates per batch": (1, 2, 5, 10, 20, 50),
        "classes": CLASSES,
        "threads": tuple(sorted({*(2**i for i in range(cores().bit_length())), cores()})),
    },
    "evaluation": {"width": WIDTHS, "depth": DEPTHS, "classes": CLASSES},
}

QUICK_DEFAULT = Settings(hidden=(20, 20, 20), batch_size=32)
QUICK: Varied = {
    "hour": {"batch size": (16, 32), "width": (10, 20), "updates per batch": (1, 3), "threads": (1,)},
    "evaluation": {"depth": (1, 2), "classes": (2, 10)},
}

MAX_SHARE = 1 / 4
"""A point is not measured if it is predicted to take more than this share of the time for all points."""


@dataclass(frozen=True, slots=True)
class Point:
    """One measured configuration: `quantity` is `value`, everything else has its default value."""

    what: What
    quantity: str
    value: int
    operations: float
    """Operations of the matrix products according to the formula."""
    seconds: float | None
    """Measured time; None if it would have taken too long."""
    predicted_seconds: float

    @property
    def per_second(self) -> float | None:
        """Measured hours or images evaluated per second."""
        return None if self.seconds is None else self._amount / self.seconds

    @property
    def predicted_per_second(self) -> float:
        """Predicted hours or images evaluated per second."""
        return self._amount / self.predicted_seconds

    @property
    def _amount(self) -> int:
        return 1 if self.what == "hour" else IMAGES


def point_json(point: Point) -> dict[str, Any]:
    """Return a point as `--json` prints it; the names are stable."""
    rates = {"per_second": point.per_second, "predicted_per_second": point.predicted_per_second}
    return asdict(point) | rates


def scaling(*, quick: bool, on: int, seconds: float, notify: Callable[[str], None]) -> Iterator[Point]:
    """Measure every point.

    Args:
        quick: use few values and a tiny network, to see that everything works.
        on: threads, except where their number is varied.
        seconds: approximate time for all points.
        notify: called with a line of progress for the user.
    """
    options, varied = (QUICK_DEFAULT, QUICK) if quick else (DEFAULT, VARIED)
    points = [(what, name, value) for what in varied for name, values in varied[what].items() for value in values]
    share = seconds / len(points)

    notify("measuring the default configuration")
    default = _config(options, "", 0)

    def rate_of(what: What, threads: int) -> float:
        """Operations per second."""
        return OPERATIONS[what](default) / _measured(what, default, threads=threads, seconds=share)

    rates: dict[What, float] = {"hour": rate_of("hour", on), "evaluation": rate_of("evaluation", on)}
    in_one_thread = rate_of("hour", 1)
    for what, quantity, value in points:
        notify(f"measuring {what}s: {quantity} {value}")
        config = _config(options, quantity, value)
        threads, rate = (value, in_one_thread * value) if quantity == "threads" else (on, rates[what])
        predicted = OPERATIONS[what](config) / rate
        fits = predicted <= seconds * MAX_SHARE
        measured = _measured(what, config, threads=threads, seconds=share) if fits else None
        yield Point(what, quantity, value, OPERATIONS[what](config), measured, predicted)


def describe_default(*, quick: bool, on: int) -> str:
    """Return the default values as text."""
    options = QUICK_DEFAULT if quick else DEFAULT
    config = _config(options, "", 0)
    widths = "-".join(map(str, (FEATURES, *config.hidden)))
    return (
        f"batch {config.batch_size}, {widths}, {counted(config.updates_per_batch, 'update')} per batch,"
        f" {config.data.classes} classes, {counted(on, 'thread')}"
    )


def _measured(what: What, config: RunConfig, *, threads: int, seconds: float) -> float:
    """Return the median time in seconds. The first call, which is slower, only counts if there is no time for more."""
    with using_threads(threads):
        contestant = CONTESTANTS[what](config)
        first = timed(contestant)
        if first > seconds:
            return first
        return medians(contestant, seconds=seconds - first, min_rounds=2, max_rounds=100)[0]


def _config(options: Settings, quantity: str, value: int) -> RunConfig:
    """Return the settings of a run on random data, with `quantity` set to `value`."""
    depth, width = len(options.hidden), options.hidden[0]
    changed: dict[str, dict[str, Any]] = {
        "batch size": {"batch_size": value},
        "width": {"hidden": (value,) * depth},
        "depth": {"hidden": (width,) * value},
        "updates per batch": {"updates_per_batch": value},
    }
    options = options.model_copy(update=changed.get(quantity, {}))
    classes = value if quantity == "classes" else 10
    return resolve(options, _random_data(classes, train=options.batch_size))


def _random_data(classes: int, *, train: int) -> DataRef:
    return DataRef(
        name="random", source="file", fingerprint="random", features=FEATURES, classes=classes, train=train,
        test=IMAGES, largest_class=100 / classes,
    )  # fmt: skip


def _hours(config: RunConfig) -> Contestant:
    data = _random_batch(config.batch_size, config)
    return ours.hours(config, data, data)


def _evaluation(config: RunConfig) -> Contestant:
    data = _random_batch(config.data.test, config)
    return ours.evaluation(config, data, data.labels)


def _random_batch(rows: int, config: RunConfig) -> Labelled:
    random = torch.Generator().manual_seed(0)
    images = torch.randn(rows, config.data.features, generator=random)
    return Labelled(images, torch.randint(config.data.classes, (rows,), generator=random), amplitude=3.0)


OPERATIONS: dict[What, Callable[[RunConfig], float]] = {"hour": hour_operations, "evaluation": evaluation_operations}
CONTESTANTS: dict[What, Callable[[RunConfig], Contestant]] = {"hour": _hours, "evaluation": _evaluation}
