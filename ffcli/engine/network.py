"""The stack of layers: one hour of training, and the goodness of every image under every label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ffcli.config import BETA1, BETA2, NO_CURE, Cure
from ffcli.engine import cures
from ffcli.engine.goodness import EPSILON, LayerInput, Rows, SharedImages, activity, goodness, normalise, product
from ffcli.engine.labels import Labelled, overlay
from ffcli.engine.layer import Layer, make_layer, update
from ffcli.engine.parameters import initial_parameters
from ffcli.schedule import Phase

CHUNK = 1000
"""Images evaluated at once: their activities stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Network:
    """The layers, how many labels there are, and scratch that is reused from hour to hour."""

    layers: tuple[Layer, ...]
    classes: int
    products: torch.dtype
    """What matrix products are rounded to; parameters, moments, goodness and loss keep the parameters' type."""
    scratch: dict[tuple[str, int], Tensor]

    def buffer(self, name: str, rows: int, width: int, dtype: torch.dtype | None = None) -> Tensor:
        """Scratch of (rows, width), kept under its name and width and only ever enlarged."""
        kept = self.scratch.get((name, width))
        if kept is None or len(kept) < rows:
            kept = self.scratch[name, width] = self.layers[0].parameters.new_empty(rows, width, dtype=dtype)
        return kept[:rows]


def make_network(
    parameters: Sequence[Tensor],
    hidden: Sequence[int],
    phases: Iterable[Phase],
    *,
    classes: int,
    products: torch.dtype | None = None,
    cure: Cure = NO_CURE,
    betas: tuple[float, float] = (BETA1, BETA2),
) -> Network:
    """A network around its layers' flat parameters, Adam at rest; products in `products`, or the parameters' type."""
    occurring, products = tuple(phases), products or parameters[0].dtype
    layers = tuple(
        make_layer(p, units, occurring, cure=cure, products=products, betas=betas)
        for p, units in zip(parameters, hidden, strict=True)
    )
    return Network(layers, classes, products, {})


def initial_network(
    features: int,
    hidden: Sequence[int],
    phases: Iterable[Phase],
    *,
    classes: int,
    dtype: torch.dtype,
    device: torch.device,
    generator: torch.Generator,
    products: torch.dtype | None = None,
    cure: Cure = NO_CURE,
    betas: tuple[float, float] = (BETA1, BETA2),
) -> Network:
    """A fresh network; drawn on the CPU, so that every device starts from the same weights."""
    widths = [features, *hidden]
    parameters = [
        initial_parameters(inputs, units, dtype=dtype, generator=generator).to(device)
        for inputs, units in pairwise(widths)
    ]
    return make_network(parameters, hidden, phases, classes=classes, products=products, cure=cure, betas=betas)


def begin_phase(network: Network) -> None:
    """An hour of another phase than the last one's comes next: cures keep what that one left."""
    for layer in network.layers:
        if layer.memory:
            cures.begin_phase(layer.memory)


def train_hour(
    network: Network,
    positive: Labelled | None,
    negative: Labelled | None,
    *,
    phase: Phase,
    lr: float,
    threshold: float,
    updates: int,
) -> Tensor:
    """One hour: layer 1 takes all its updates and hands on its output, then layer 2, and so on.

    The hour's phase says which of `positive` and `negative` (B rows each) are given.
    Returns the mean loss over rows and updates, by layer and kind: (layers, 2), positive first; 0 for a kind that
    the hour did not see.
    """
    inputs, sign = _first_input(network, positive, negative)
    rows = len(sign)
    hour_losses = sign.new_zeros(len(network.layers), 2)
    for number, layer in enumerate(network.layers):
        units = len(layer.bias)
        h = network.buffer("activity", rows, units)
        total = update(layer, inputs, sign, phase=phase, lr=lr, threshold=threshold, updates=updates, h=h)
        _record(hour_losses[number], total.div_(updates), phase)
        if number + 1 < len(network.layers):
            activity(inputs, layer.weight, layer.bias, out=h)
            inputs = Rows(normalise(h, out=network.buffer("input", rows, units, network.products)))
    return hour_losses


def label_goodness(network: Network, images: Tensor, amplitude: float) -> Tensor:
    """Goodness of every image (N, features) under every label: (layers, classes, N)."""
    return torch.cat(
        [_chunk_goodness(network, chunk, amplitude, None)[0] for chunk in torch.split(images, CHUNK)], dim=2
    )


def predict(label_goodness: Tensor) -> Tensor:
    """The label whose overlay has the largest goodness summed over the layers; ties go to the lowest label."""
    total = label_goodness.sum(0)
    return (total == total.amax(0)).to(torch.uint8).argmax(0)


def percent_correct(predicted: Tensor, labels: Tensor) -> Tensor:
    return (predicted == labels).sum().to(torch.float64) * 100 / len(labels)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Of labelled images; percent, and by layer. Device tensors: reading one waits for the device."""

    accuracy: Tensor
    goodness_true: Tensor  # (layers,)
    goodness_wrong: Tensor  # (layers,)
    dead_units: tuple[Tensor, ...]


def evaluate(network: Network, data: Labelled, wrong: Tensor) -> Evaluation:
    """Accuracy on `data`, mean goodness under its true and under the given wrong labels (N,), and the share of units
    without activity on any image under its true label."""
    active = [torch.zeros_like(layer.bias) for layer in network.layers]
    parts = []
    for chunk, true in zip(torch.split(data.images, CHUNK), torch.split(data.labels, CHUNK), strict=True):
        part, chunk_active = _chunk_goodness(network, chunk, data.amplitude, true)
        parts.append(part)
        for total, seen in zip(active, chunk_active, strict=True):
            total += seen
    all_goodness = torch.cat(parts, dim=2)
    return Evaluation(
        accuracy=percent_correct(predict(all_goodness), data.labels),
        goodness_true=_under(all_goodness, data.labels),
        goodness_wrong=_under(all_goodness, wrong),
        dead_units=tuple((seen == 0).to(torch.float64).mean() for seen in active),
    )


def goodness_by_layer(network: Network, inputs: Tensor) -> Tensor:
    """Goodness of `inputs` (rows, features) as they are, labels already overlaid: (layers, rows)."""
    found = []
    for layer in network.layers:
        x = normalise(inputs, out=torch.empty_like(inputs))
        inputs = activity(Rows(x), layer.weight, layer.bias, out=x.new_empty(len(x), len(layer.bias)))
        found.append(goodness(inputs))
    return torch.stack(found)


def _first_input(network: Network, positive: Labelled | None, negative: Labelled | None) -> tuple[LayerInput, Tensor]:
    """The first layer's input and the sign of each of its rows."""
    if positive and negative and positive.images is negative.images:
        return _shared_images(network, positive, negative.labels)
    kinds = [(data, value) for data, value in ((positive, 1), (negative, -1)) if data]
    rows = sum(len(data.labels) for data, _ in kinds)
    v = network.buffer("images", rows, kinds[0][0].images.shape[1])
    sign = v.new_empty(rows)
    start = 0
    for data, value in kinds:
        stop = start + len(data.labels)
        overlay(data, classes=network.classes, out=v[start:stop])
        sign[start:stop] = value
        start = stop
    return Rows(normalise(v, out=v).to(network.products)), sign


def _shared_images(network: Network, data: Labelled, wrong: Tensor) -> tuple[SharedImages, Tensor]:
    """The same images under their true and their wrong labels: one norm and one image product serve both halves."""
    rows, features = data.images.shape
    u = network.buffer("images", rows, features).copy_(data.images)
    u[:, : network.classes] = 0
    inverse = _inverse_norm(u, data.amplitude)
    u *= inverse
    labels = u.new_zeros(2 * rows, network.classes)
    labels.scatter_(1, torch.cat([data.labels, wrong]).unsqueeze(1), (inverse * data.amplitude).repeat(2, 1))
    sign = torch.ones_like(labels[:, 0])
    sign[rows:] = -1
    return SharedImages(u.to(network.products), labels), sign


def _inverse_norm(blank: Tensor, amplitude: float) -> Tensor:
    """1 / (|v| + 1e-4), (rows, 1), of `blank` images (label features 0) under any one label."""
    squares: Tensor = torch.linalg.vector_norm(blank, dim=1, keepdim=True).square_()
    return squares.add_(amplitude**2).sqrt_().add_(EPSILON).reciprocal_()


def _record(row: Tensor, losses: Tensor, phase: Phase) -> None:
    half = len(losses) // 2 if phase == "joint" else len(losses)
    if phase != "negative":
        row[0] = losses[:half].mean()
    if phase != "positive":
        row[1] = losses[-half:].mean()


def _chunk_goodness(
    network: Network, images: Tensor, amplitude: float, true: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    """Goodness (layers, classes, rows) under every label, and the summed activity of each unit (units,) by layer
    under the true labels.

    All labels share layer 1's image product: x_k W' = (u W' + amplitude W_k) / (|x| + 1e-4), and |x| is the same
    under every label. Deeper layers scale the product's rows instead of their input's.
    """
    rows, classes = len(images), network.classes
    first, *deeper = network.layers
    blank = network.buffer("images", rows, images.shape[1]).copy_(images)
    blank[:, :classes] = 0
    inverse = _inverse_norm(blank, amplitude)
    shared = network.buffer("shared", rows, len(first.bias))
    product(blank, first.weight.t(), precision=network.products, out=shared)
    torch.addcmul(first.bias, shared, inverse, out=shared)
    raised = inverse * amplitude

    found = shared.new_empty(len(network.layers), classes, rows)
    active = [torch.zeros_like(layer.bias) for layer in network.layers]
    for label in range(classes):
        h = network.buffer("activity", rows, len(first.bias))
        torch.addcmul(shared, raised, first.weight[:, label].unsqueeze(0), out=h).relu_()
        is_true = None if true is None else (true == label).to(h.dtype)
        for number in range(len(network.layers)):
            norm = torch.linalg.vector_norm(h, dim=1)
            found[number, label] = norm.square().div_(h.shape[1])
            if is_true is not None:
                active[number] += is_true @ h
            if number < len(deeper):
                layer = deeper[number]
                z = network.buffer(f"activity{number % 2}", rows, len(layer.bias))
                product(h, layer.weight.t(), precision=network.products, out=z)
                h = torch.addcmul(layer.bias, z, norm.add_(EPSILON).reciprocal_().unsqueeze(1), out=z).relu_()
    return found, active


def _under(label_goodness: Tensor, labels: Tensor) -> Tensor:
    """Mean over the images of the goodness under `labels`: (layers,)."""
    chosen = labels.expand(len(label_goodness), 1, -1)
    return label_goodness.gather(1, chosen).squeeze(1).to(torch.float64).mean(1)
