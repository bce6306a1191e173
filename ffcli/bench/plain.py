"""The baselines of `ffcli.bench.ours`: the same work by plain autograd, ten overlays, and one image at a time."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import count

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from ffcli.bench.measuring import Contestant
from ffcli.bench.setting import CPU
from ffcli.config import RunConfig
from ffcli.engine.autograd import AutogradNetwork
from ffcli.engine.labels import Labelled, overlay
from ffcli.engine.network import used_data
from ffcli.engine.training import initial_state
from ffcli.schedule import phase_of, phases


def hours(config: RunConfig, positive: Labelled, negative: Labelled) -> Contestant:
    """Train the next hour of the schedule with each call, always on the same data."""
    network = plain_network(config)
    numbers = count()
    return lambda: train_hour(network, config, next(numbers), positive, negative)


def train_hour(
    network: AutogradNetwork, config: RunConfig, number: int, positive: Labelled, negative: Labelled
) -> float:
    """Train the hour with this number, on the data that its phase uses. Returns the mean loss."""
    phase = phase_of(config.schedule, number)
    kinds = zip(used_data(phase, positive, negative), (1.0, -1.0), strict=True)
    used = [(data, value) for data, value in kinds if data]
    v = torch.cat([_overlaid(data, config.data.classes) for data, _ in used])
    sign = torch.cat([torch.full((len(data.labels),), value) for data, value in used])
    return network.learn(v, sign, phase)


def evaluation(config: RunConfig, data: Labelled) -> Contestant:
    """Compute the accuracy on images."""
    network = plain_network(config)
    return lambda: accuracy(network, data, config.data.classes)


def accuracy(network: AutogradNetwork, data: Labelled, classes: int) -> float:
    """Return the accuracy in percent. Every image passes through the network once for each label."""
    totals = []
    for label in range(classes):
        v = _overlaid(data._replace(labels=torch.full_like(data.labels, label)), classes)
        totals.append(network.goodness(v).sum(0))
    return 100 * float((torch.stack(totals).argmax(0) == data.labels).double().mean())


def masks(images: Tensor, batch: Labelled, *, size: Sequence[int], classes: int, blur: int) -> Contestant:
    """Make the negatives of one batch as a `Dataset` does: for each image, draw two images and blur a mask."""
    kernel = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]).view(1, 1, 3, 3) / 16

    def item(label: int) -> tuple[Tensor, int]:
        a, b = (images[random.randrange(len(images))].view(1, *size) for _ in range(2))
        mask = torch.randint(0, 2, (1, 1, *size)).float()
        for _ in range(blur):
            mask = conv2d(mask, kernel, padding=1)
        chosen = (mask[0] < 0.5).float()
        return (a * chosen + b * (1 - chosen)).flatten(), (label + random.randrange(1, classes)) % classes

    def negatives() -> tuple[Tensor, Tensor]:
        joined, labels = zip(*(item(int(label)) for label in batch.labels), strict=True)
        return torch.stack(joined), torch.tensor(labels)

    return negatives


def first_update(config: RunConfig, items: Iterable[tuple[Tensor, int]]) -> Contestant:
    """Load a dataset item by item and train one hour on a shuffled batch."""

    def start() -> None:
        pixels, digits = zip(*items, strict=True)
        images, labels = torch.stack(pixels), torch.tensor(digits)
        batch = torch.randperm(len(labels))[: config.batch_size]
        positive = Labelled(images[batch], labels[batch], float(images[batch].max()))
        hours(config, positive, positive)()

    return start


def plain_network(config: RunConfig) -> AutogradNetwork:
    """Return a network with the parameters that the engine starts from."""
    rates = {phase: config.learning_rate(phase, 0) for phase in phases(config.schedule)}
    network = AutogradNetwork(
        (config.data.features, *config.hidden), rates, threshold=config.threshold, updates=config.updates_per_batch
    )
    network.load((layer.weight, layer.bias) for layer in initial_state(config, CPU).network.layers)
    return network


def _overlaid(data: Labelled, classes: int) -> Tensor:
    return overlay(data, classes=classes, out=torch.empty_like(data.images))
