"""The breakdown of one hour of separated phases: time by layer and kind of operation.

torch's profiler records the operations of the hour with the shapes of their operands. The order of the matrix products
tells the layer and direction of each: a layer with U updates makes 2 U products, alternately forward and backward, and
then, unless it is the last layer, one more for its output. The time of a layer begins with its first product (that of
the first layer with the hour), so normalising the next layer's input counts for the layer below. `elementwise` is every
other operation of torch. `the rest` is the time between operations: Python and the profiler, which makes the hour
slightly longer.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, get_args

from torch.autograd.profiler import profile, record_function

from ffcli.bench import ours
from ffcli.bench.measuring import Contestant, using_threads
from ffcli.bench.setting import Setting
from ffcli.benchmark import Part, Step
from ffcli.config import RunConfig

LEFT_OPERAND = {"aten::mm": 0, "aten::addmm": 1}
"""Operations that are matrix products, with the index of the left operand; the right one follows."""

HOUR = "hour"


def breakdown(setting: Setting) -> tuple[Step, ...]:
    """Return the time and share of each kind of operation, for each layer."""
    config = setting.config()
    with using_threads(setting.threads):
        events = _recorded(ours.hours(config, setting.positive, setting.wrong_labels))
    hour = next(event for event in events if event.name == HOUR)
    products = [
        (_whole_operation(event), layer, direction)
        for event, (layer, direction) in zip(_products(config, events), _expected_products(config), strict=True)
    ]
    directions = {event.id: direction for event, _, direction in products}
    begins = {layer: event.time_range.start for event, layer, _ in reversed(products)}

    whole = hour.time_range.elapsed_us()
    edges = [hour.time_range.start, *(begins[layer] for layer in sorted(begins)[1:]), hour.time_range.end]
    steps = []
    for layer, (start, end) in enumerate(pairwise(edges), start=1):
        spent: Counter[Part] = Counter()
        for event in hour.cpu_children:
            if start <= event.time_range.start < end:
                spent[directions.get(event.id) or _kind(event)] += event.time_range.elapsed_us()
        spent["the rest"] = end - start - spent.total()
        steps += [Step(layer, part, spent[part] / 1e6, spent[part] / whole) for part in get_args(Part)]
    return tuple(steps)


def _recorded(train: Contestant) -> list[Any]:
    """Return the events of one hour by start time, after a first hour that is not recorded."""
    # Otherwise the profiler writes to stderr that it starts and that there is no GPU.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    train()
    with profile(record_shapes=True) as recorded, record_function(HOUR):
        train()
    return sorted(recorded.function_events or [], key=lambda event: float(event.time_range.start))


def _expected_products(config: RunConfig) -> Iterator[tuple[int, Part]]:
    """Yield layer and direction of each matrix product of an hour, in order."""
    for layer in range(1, len(config.hidden) + 1):
        for _ in range(config.updates_per_batch):
            yield layer, "products forward"
            yield layer, "products backward"
        if layer < len(config.hidden):
            yield layer, "products forward"


def _products(config: RunConfig, events: list[Any]) -> list[Any]:
    """Return the events that multiply a whole batch by the weights of a layer."""
    widths = (config.data.features, *config.hidden)
    sizes = {config.batch_size * inputs * units for inputs, units in pairwise(widths)}
    return [event for event in events if event.name in LEFT_OPERAND and _multiplications(event) in sizes]


def _multiplications(event: Any) -> int:
    """Return the number of multiplications in a matrix product."""
    left = LEFT_OPERAND[event.name]
    (rows, inner), (_, columns) = event.input_shapes[left : left + 2]
    return int(rows * inner * columns)


def _whole_operation(event: Any) -> Any:
    """Return the operation that the engine called, of which `event` is a part."""
    while event.cpu_parent.name != HOUR:
        event = event.cpu_parent
    return event


def _kind(event: Any) -> Part:
    """Return the kind of an operation that is not a matrix product."""
    return "Adam" if "adam" in event.name or "foreach" in event.name else "elementwise"
