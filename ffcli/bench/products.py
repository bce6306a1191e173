"""The matrix products of an hour or of an evaluation alone: a lower bound of the time that these take.

Operands have the shapes, layouts and type that the engine uses. Their values do not matter for the time.
"""

from __future__ import annotations

from itertools import pairwise

import torch

from ffcli.bench.measuring import Contestant
from ffcli.config import RunConfig
from ffcli.engine.network import EVALUATED_ROWS


def of_hour(config: RunConfig, *, shared_images: bool = False) -> Contestant:
    """Return a contestant that computes the products of one hour.

    These are the forward and the weight-gradient product of each layer for each update, and its output for the next.

    Args:
        config: settings of the run.
        shared_images: whether positive and negative data of an unseparated hour are the same images; the first layer
            then multiplies half as many rows.
    """
    rows = config.batch_size * (1 if config.schedule.separated else 2)
    like = _operands(config)
    layers = [
        (like.new_ones(rows, inputs), like.new_ones(units, inputs), like.new_ones(rows, units))
        for inputs, units in pairwise((config.data.features, *config.hidden))
    ]
    if shared_images:
        layers[0] = (layers[0][0][: config.batch_size], layers[0][1], layers[0][2][: config.batch_size])
    gradients = [torch.empty_like(weight) for _, weight, _ in layers]

    def hour() -> None:
        for number, ((x, weight, h), gradient) in enumerate(zip(layers, gradients, strict=True)):
            for _ in range(config.updates_per_batch):
                torch.mm(x, weight.t(), out=h)
                torch.mm(h.t(), x, out=gradient)
            if number + 1 < len(layers):
                torch.mm(x, weight.t(), out=h)

    return hour


def of_evaluation(config: RunConfig, images: int) -> Contestant:
    """Return a contestant that computes the products of an evaluation: layer 1 once, deeper layers for each label."""
    like = _operands(config)
    first, *deeper = (
        like.new_ones(units, inputs) for inputs, units in pairwise((config.data.features, *config.hidden))
    )
    rows = min(images, EVALUATED_ROWS)
    x = like.new_ones(rows, config.data.features)
    outputs = [like.new_empty(rows, units) for units in config.hidden]

    def evaluate() -> None:
        for _ in range(-(-images // rows)):
            torch.mm(x, first.t(), out=outputs[0])
            for _ in range(config.data.classes):
                for weight, inputs, output in zip(deeper, outputs, outputs[1:], strict=False):
                    torch.mm(inputs, weight.t(), out=output)

    return evaluate


def _operands(config: RunConfig) -> torch.Tensor:
    return torch.empty(0, dtype=torch.bfloat16 if config.precision == "bf16" else torch.float32)
