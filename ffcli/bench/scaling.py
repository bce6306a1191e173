"""How the time of an hour and of an evaluation grows with the work, beside what the formula of `ffcli.estimate` says.

One quantity is varied at a time, from the default setting. The formula counts the operations of the matrix products;
the rate at which this machine does them is measured once, at the default setting (in one thread, where threads are
varied). So where measured and predicted figures part, the rate is another than there: small products are slow to start,
large ones leave the processor's cache, and threads wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from ffcli.bench import ours
from ffcli.bench.measuring import Contestant, medians, threads, timed
from ffcli.config import DataRef, RunConfig
from ffcli.engine.labels import Labelled
from ffcli.estimate import evaluation_operations, hour_operations
from ffcli.machine import cores
from ffcli.planning import resolve
from ffcli.settings import Settings

What = Literal["hour", "evaluation"]
Varied = dict[What, dict[str, tuple[int, ...]]]
"""What is varied, of hours and of evaluations, over which values."""

FEATURES = 784
IMAGES = 1000
"""Evaluated at once: an evaluation of N images takes N / IMAGES times as long."""

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

LONGEST = 1 / 4
"""A setting that is predicted to take more than this share of the time for all is left out."""


@dataclass(frozen=True, slots=True)
class Point:
    """One setting: `quantity` is `value`, all else as by default."""

    what: What
    quantity: str
    value: int
    operations: float
    """Of the matrix products, by the formula."""
    seconds: float | None
    """None where it was left out."""
    predicted_seconds: float

    @property
    def per_second(self) -> float | None:
        """Hours, or images evaluated."""
        return None if self.seconds is None else self._amount / self.seconds

    @property
    def predicted_per_second(self) -> float:
        return self._amount / self.predicted_seconds

    @property
    def _amount(self) -> int:
        return 1 if self.what == "hour" else IMAGES


def point_json(point: Point) -> dict[str, Any]:
    """With the stable names of `--json`."""
    rates = {"per_second": point.per_second, "predicted_per_second": point.predicted_per_second}
    return asdict(point) | rates


def scaling(*, quick: bool, on: int, seconds: float, notify: Callable[[str], None]) -> Iterator[Point]:
    """Measure every setting, `on` so many threads but where those are varied, in about `seconds` in all."""
    options, varied = (QUICK_DEFAULT, QUICK) if quick else (DEFAULT, VARIED)
    settings = [(what, name, value) for what in varied for name, values in varied[what].items() for value in values]
    share = seconds / len(settings)

    notify("measuring the default setting")
    default = _config(options, "", 0)

    def rate_of(what: What, count: int) -> float:
        return OPERATIONS[what](default) / _measured(what, default, on=count, seconds=share)

    rates: dict[What, float] = {"hour": rate_of("hour", on), "evaluation": rate_of("evaluation", on)}
    in_one_thread = rate_of("hour", 1)
    for what, quantity, value in settings:
        notify(f"measuring {what}s: {quantity} {value}")
        config = _config(options, quantity, value)
        count, rate = (value, in_one_thread * value) if quantity == "threads" else (on, rates[what])
        predicted = OPERATIONS[what](config) / rate
        fits = predicted <= seconds * LONGEST
        measured = _measured(what, config, on=count, seconds=share) if fits else None
        yield Point(what, quantity, value, OPERATIONS[what](config), measured, predicted)


def describe_default(*, quick: bool, on: int) -> str:
    """The setting that all but one quantity is taken from."""
    options = QUICK_DEFAULT if quick else DEFAULT
    config = _config(options, "", 0)
    widths = "-".join(map(str, (FEATURES, *config.hidden)))
    return (
        f"batch {config.batch_size}, {widths}, {config.updates_per_batch} update{'s' * (config.updates_per_batch > 1)}"
        f" per batch, {config.data.classes} classes, {on} thread{'s' * (on > 1)}"
    )


def _measured(what: What, config: RunConfig, *, on: int, seconds: float) -> float:
    """Median seconds. The first call, which also gets its memory, counts only where it is too long for a second."""
    with threads(on):
        contestant = CONTESTANTS[what](config)
        first = timed(contestant)
        return first if first > seconds else medians(contestant, seconds=seconds - first, least=2, most=100)[0]


def _config(options: Settings, quantity: str, value: int) -> RunConfig:
    """`options` on noise, with one quantity another than by default."""
    depth, width = len(options.hidden), options.hidden[0]
    changed: dict[str, dict[str, Any]] = {
        "batch size": {"batch_size": value},
        "width": {"hidden": (value,) * depth},
        "depth": {"hidden": (width,) * value},
        "updates per batch": {"updates_per_batch": value},
    }
    options = options.model_copy(update=changed.get(quantity, {}))
    classes = value if quantity == "classes" else 10
    return resolve(options, _noise(classes, train=options.batch_size))


def _noise(classes: int, *, train: int) -> DataRef:
    return DataRef(
        name="noise", source="file", fingerprint="noise", features=FEATURES, classes=classes, train=train, test=IMAGES,
        largest_class=100 / classes,
    )  # fmt: skip


def _hours(config: RunConfig) -> Contestant:
    awake = _labelled(config.batch_size, config)
    return ours.hours(config, awake, awake)


def _evaluation(config: RunConfig) -> Contestant:
    data = _labelled(config.data.test, config)
    return ours.evaluation(config, data, data.labels)


def _labelled(rows: int, config: RunConfig) -> Labelled:
    random = torch.Generator().manual_seed(0)
    images = torch.randn(rows, config.data.features, generator=random)
    return Labelled(images, torch.randint(config.data.classes, (rows,), generator=random), amplitude=3.0)


OPERATIONS: dict[What, Callable[[RunConfig], float]] = {"hour": hour_operations, "evaluation": evaluation_operations}
CONTESTANTS: dict[What, Callable[[RunConfig], Contestant]] = {"hour": _hours, "evaluation": _evaluation}
