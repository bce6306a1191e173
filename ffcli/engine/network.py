"""A network: a stack of layers, one hour of training, and the goodness of images under each label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ffcli.engine import cures
from ffcli.engine.goodness import EPSILON, LayerInput, Rows, SharedImages, activity, goodness, normalise, product
from ffcli.engine.labels import Labelled, overlay
from ffcli.engine.layer import Hour, Layer, make_layer, update
from ffcli.engine.objectives import MEAN, Objective
from ffcli.engine.optimisers import ADAM, DEFAULT_HYPER, Hyperparameters, Optimiser
from ffcli.engine.parameters import initial_parameters
from ffcli.schedule import Phase
from ffcli.settings import NO_CURE, Cure

EVALUATED_ROWS = 1000
"""Images evaluated at a time, so that their activities fit in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Network:
    """A stack of layers. Training changes it in place."""

    layers: tuple[Layer, ...]
    classes: int
    polarity: int
    """Sign of positive data: 1 if training raises their goodness, -1 if it lowers it."""
    products: torch.dtype
    """Type in which matrix products are computed. All else is computed in the type of the parameters."""
    scratch: dict[tuple[str, int], Tensor]
    """Buffers that are reused from hour to hour, by name and width."""

    def buffer(self, name: str, rows: int, width: int, dtype: torch.dtype | None = None) -> Tensor:
        """Return a buffer (rows, width). Calls with the same name and width return the same memory."""
        kept = self.scratch.get((name, width))
        if kept is None or len(kept) < rows:
            kept = self.scratch[name, width] = self.layers[0].parameters.new_empty(rows, width, dtype=dtype)
        return kept[:rows]


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
    objective: Objective = MEAN,
    optimiser: Optimiser = ADAM,
    hyper: Hyperparameters = DEFAULT_HYPER,
    cure: Cure = NO_CURE,
) -> Network:
    """Return an untrained network with random parameters.

    Args:
        features: features of an image.
        hidden: units of each layer.
        phases: the phases that occur; each layer has an optimiser state for each.
        classes: number of labels.
        dtype: type of the parameters.
        device: where the network is trained.
        generator: random numbers of the CPU, so that every device starts from the same parameters.
        products: type in which matrix products are computed; None for `dtype`.
        objective: definition of goodness.
        optimiser: makes the steps.
        hyper: settings of the optimiser.
        cure: what to keep across phases.
    """
    parameters = [
        initial_parameters(inputs, units, dtype=dtype, generator=generator).to(device)
        for inputs, units in pairwise([features, *hidden])
    ]
    return make_network(
        parameters,
        hidden,
        phases,
        classes=classes,
        products=products,
        objective=objective,
        optimiser=optimiser,
        hyper=hyper,
        cure=cure,
    )


def make_network(
    parameters: Sequence[Tensor],
    hidden: Sequence[int],
    phases: Iterable[Phase],
    *,
    classes: int,
    products: torch.dtype | None = None,
    objective: Objective = MEAN,
    optimiser: Optimiser = ADAM,
    hyper: Hyperparameters = DEFAULT_HYPER,
    cure: Cure = NO_CURE,
) -> Network:
    """Return an untrained network with the given parameters: for each layer, weights row by row, then biases (P,).

    The other arguments are those of `initial_network`.
    """
    occurring = tuple(phases)
    layers = tuple(
        make_layer(
            flat, units, occurring, divisor=objective.divisor(units), optimiser=optimiser, hyper=hyper, cure=cure
        )
        for flat, units in zip(parameters, hidden, strict=True)
    )
    return Network(layers, classes, objective.polarity, products or parameters[0].dtype, scratch={})


def begin_phase(network: Network) -> None:
    """Tell the cure that the next hour is of another phase than the last one."""
    for layer in network.layers:
        if layer.memory:
            cures.begin_phase(layer.memory)


def train_hour(network: Network, hour: Hour, positive: Labelled | None, negative: Labelled | None) -> Tensor:
    """Train on one batch: layer 1 takes all its updates and passes on its new output, then layer 2, and so on.

    Args:
        network: changed in place.
        hour: how to train.
        positive: positive data (B rows); not used in a negative phase.
        negative: negative data (B rows); not used in a positive phase.

    Returns:
        Loss of each layer on positive and on negative data (layers, 2): the mean over rows and updates, or 0 for data
        that the phase does not use.
    """
    inputs, sign = _first_input(network, *used_data(hour.phase, positive, negative))
    rows = len(sign)
    hour_losses = sign.new_zeros(len(network.layers), 2)
    for number, layer in enumerate(network.layers):
        units = len(layer.bias)
        h = network.buffer("activity", rows, units)
        total = update(layer, inputs, sign, hour, h=h)
        _write_losses(hour_losses[number], total.div_(hour.updates), hour.phase)
        if number + 1 < len(network.layers):
            activity(inputs, layer.weight, layer.bias, out=h)
            inputs = Rows(normalise(h, out=network.buffer("input", rows, units, network.products)))
    return hour_losses


def used_data(
    phase: Phase, positive: Labelled | None, negative: Labelled | None
) -> tuple[Labelled | None, Labelled | None]:
    """Return the positive and the negative data, with None for what an hour of this phase does not use."""
    return (None if phase == "negative" else positive), (None if phase == "positive" else negative)


def label_goodness(network: Network, images: Tensor, amplitude: float) -> Tensor:
    """Return the goodness of images (N, features) under each label (layers, classes, N)."""
    chunks = torch.split(images, EVALUATED_ROWS)
    return torch.cat([_goodness_of_each_label(network, chunk, amplitude, None)[0] for chunk in chunks], dim=2)


def predict(network: Network, label_goodness: Tensor) -> Tensor:
    """Return the predicted labels (N,): those with the largest goodness summed over the layers.

    Ties go to the lowest label. If the network's polarity is -1, the smallest goodness wins.
    """
    total = label_goodness.sum(0).mul_(network.polarity)
    return (total == total.amax(0)).to(torch.uint8).argmax(0)


def percent_correct(predicted: Tensor, labels: Tensor) -> Tensor:
    """Return the accuracy in percent, ()."""
    return (predicted == labels).sum().to(torch.float64) * 100 / len(labels)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How a network does on labelled images. Reading a tensor waits for the device."""

    accuracy: Tensor
    """In percent, ()."""
    goodness_true: Tensor
    """Mean goodness with the true labels (layers,)."""
    goodness_wrong: Tensor
    """Mean goodness with wrong labels (layers,)."""
    dead_units: tuple[Tensor, ...]
    """For each layer the share (0 to 1) of units with no activity on any image with its true label."""


def evaluate(network: Network, data: Labelled, wrong: Tensor) -> Evaluation:
    """Evaluate a network on images with their true labels.

    Args:
        network: not changed.
        data: N images and their true labels.
        wrong: a wrong label for each image (N,).
    """
    active = [torch.zeros_like(layer.bias) for layer in network.layers]
    parts = []
    chunks = (torch.split(tensor, EVALUATED_ROWS) for tensor in (data.images, data.labels))
    for chunk, true in zip(*chunks, strict=True):
        part, chunk_active = _goodness_of_each_label(network, chunk, data.amplitude, true)
        parts.append(part)
        for total, of_chunk in zip(active, chunk_active, strict=True):
            total += of_chunk
    all_goodness = torch.cat(parts, dim=2)
    return Evaluation(
        accuracy=percent_correct(predict(network, all_goodness), data.labels),
        goodness_true=_mean_goodness(all_goodness, data.labels),
        goodness_wrong=_mean_goodness(all_goodness, wrong),
        dead_units=tuple((total == 0).to(torch.float64).mean() for total in active),
    )


def goodness_by_layer(network: Network, inputs: Tensor) -> Tensor:
    """Return the goodness (layers, rows) of images (rows, features) that already carry their labels."""
    found = []
    for layer in network.layers:
        x = normalise(inputs, out=torch.empty_like(inputs))
        inputs = activity(Rows(x), layer.weight, layer.bias, out=x.new_empty(len(x), len(layer.bias)))
        found.append(goodness(inputs, layer.divisor))
    return torch.stack(found)


def _first_input(network: Network, positive: Labelled | None, negative: Labelled | None) -> tuple[LayerInput, Tensor]:
    """Return the input of the first layer and the sign of each row (rows,)."""
    if positive and negative and positive.images is negative.images:
        return _shared_images(network, positive, negative.labels)
    kinds = [(data, sign) for data, sign in ((positive, network.polarity), (negative, -network.polarity)) if data]
    rows = sum(len(data.labels) for data, _ in kinds)
    v = network.buffer("images", rows, kinds[0][0].images.shape[1])
    signs = v.new_empty(rows)
    start = 0
    for data, sign in kinds:
        stop = start + len(data.labels)
        overlay(data, classes=network.classes, out=v[start:stop])
        signs[start:stop] = sign
        start = stop
    return Rows(normalise(v, out=v).to(network.products)), signs


def _shared_images(network: Network, data: Labelled, wrong: Tensor) -> tuple[SharedImages, Tensor]:
    """Return the input and signs (2B,) for the same images with their true labels and with wrong labels (B,)."""
    rows, features = data.images.shape
    u = network.buffer("images", rows, features).copy_(data.images)
    u[:, : network.classes] = 0
    inverse = _inverse_norm(u, data.amplitude)
    u *= inverse
    labels = u.new_zeros(2 * rows, network.classes)
    labels.scatter_(1, torch.cat([data.labels, wrong]).unsqueeze(1), (inverse * data.amplitude).repeat(2, 1))
    signs = torch.full_like(labels[:, 0], network.polarity)
    signs[rows:] = -network.polarity
    return SharedImages(u.to(network.products), labels), signs


def _inverse_norm(blank: Tensor, amplitude: float) -> Tensor:
    """Return 1 / (|v| + 1e-4), (rows, 1), of images with any one label; `blank` has all label features 0."""
    squares: Tensor = torch.linalg.vector_norm(blank, dim=1, keepdim=True).square_()
    return squares.add_(amplitude**2).sqrt_().add_(EPSILON).reciprocal_()


def _write_losses(row: Tensor, losses: Tensor, phase: Phase) -> None:
    """Write the mean loss of positive and of negative rows to `row` (2,)."""
    half = len(losses) // 2 if phase == "joint" else len(losses)
    if phase != "negative":
        row[0] = losses[:half].mean()
    if phase != "positive":
        row[1] = losses[-half:].mean()


def _goodness_of_each_label(
    network: Network, images: Tensor, amplitude: float, true: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    """Return the goodness under each label (layers, classes, rows), and for each layer the activity of its units
    (units,) summed over the images with their true labels; zeros if `true` is None.

    All labels share the first layer's image product: x_k W' = (u W' + amplitude W_k) / (|x| + 1e-4), where u is the
    image with label features 0, and |x| is the same for every label. Deeper layers divide the product by the norm of
    their input, rather than the input.
    """
    rows, classes = len(images), network.classes
    first, *deeper = network.layers
    blank = network.buffer("images", rows, images.shape[1]).copy_(images)
    blank[:, :classes] = 0
    inverse = _inverse_norm(blank, amplitude)
    shared = network.buffer("shared", rows, len(first.bias))
    product(blank, first.weight.t(), precision=network.products, out=shared)
    torch.addcmul(first.bias, shared, inverse, out=shared)
    label_input = inverse * amplitude

    found = shared.new_empty(len(network.layers), classes, rows)
    active = [torch.zeros_like(layer.bias) for layer in network.layers]
    for label in range(classes):
        h = network.buffer("activity", rows, len(first.bias))
        torch.addcmul(shared, label_input, first.weight[:, label].unsqueeze(0), out=h).relu_()
        is_true = None if true is None else (true == label).to(h.dtype)
        for number, layer in enumerate(network.layers):
            norm = torch.linalg.vector_norm(h, dim=1)
            found[number, label] = norm.square().div_(layer.divisor)
            if is_true is not None:
                active[number] += is_true @ h
            if number < len(deeper):
                above = deeper[number]
                z = network.buffer(f"activity{number % 2}", rows, len(above.bias))
                product(h, above.weight.t(), precision=network.products, out=z)
                h = torch.addcmul(above.bias, z, norm.add_(EPSILON).reciprocal_().unsqueeze(1), out=z).relu_()
    return found, active


def _mean_goodness(label_goodness: Tensor, labels: Tensor) -> Tensor:
    """Return the mean goodness (layers,) of images shown with `labels` (N,)."""
    chosen = labels.expand(len(label_goodness), 1, -1)
    return label_goodness.gather(1, chosen).squeeze(1).to(torch.float64).mean(1)
