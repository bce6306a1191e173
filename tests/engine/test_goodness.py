"""The hand-written gradient, the shared-image path and the evaluation against plain autograd, over random shapes."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_data import seen
from torch import Tensor
from torch.nn.functional import softplus

from ffcli.engine.autograd import AutogradNetwork
from ffcli.engine.goodness import (
    EPSILON,
    Rows,
    activity,
    backward,
    goodness,
    goodness_backward,
    losses,
    losses_backward,
    normalise,
)
from ffcli.engine.labels import Labelled, overlay
from ffcli.engine.network import Network, evaluate, goodness_by_layer, initial_network, label_goodness, train_hour
from ffcli.schedule import Phase

sizes = st.integers(1, 9)
seeds = st.integers(0, 2**31)
# From weights so small that nothing is active to goodness far beyond where sigma saturates.
scales = st.sampled_from([0.0, 1e-6, 1.0, 30.0, 1e4])


@given(rows=sizes, inputs=sizes, units=sizes, scale=scales, bias=st.sampled_from([-5.0, 0.0, 3.0]), seed=seeds)
@settings(deadline=None, max_examples=150)
def test_gradient_equals_autograd(rows: int, inputs: int, units: int, scale: float, bias: float, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    v = torch.randn(rows, inputs, generator=random, dtype=torch.float64)
    weight = (torch.randn(units, inputs, generator=random, dtype=torch.float64) * scale).requires_grad_()
    biases = (torch.randn(units, generator=random, dtype=torch.float64) + bias).requires_grad_()
    sign = torch.randint(0, 2, (rows,), generator=random).double() * 2 - 1

    direction = v / (v.norm(dim=1, keepdim=True) + EPSILON)
    expected_goodness = torch.relu(direction @ weight.t() + biases).pow(2).mean(1)
    expected = softplus(sign * (1.5 - expected_goodness), threshold=50).mean()
    expected.backward()  # type: ignore[no-untyped-call]

    inputs_ = Rows(normalise(v, out=torch.empty_like(v)))
    h = activity(inputs_, weight.detach(), biases.detach(), out=v.new_empty(rows, units))
    g = goodness(h)
    loss = losses(g, sign, 1.5).mean()
    dz = goodness_backward(h, losses_backward(g, sign, 1.5))
    weight_gradient, bias_gradient = torch.empty_like(weight), torch.empty_like(biases)
    backward(inputs_, dz, weight_gradient=weight_gradient, bias_gradient=bias_gradient)

    torch.testing.assert_close(g, expected_goodness.detach())
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(weight_gradient, weight.grad)
    torch.testing.assert_close(bias_gradient, biases.grad)


def test_gradient_of_dead_units_is_zero() -> None:
    inputs = Rows(torch.ones(3, 2, dtype=torch.float64))
    weight, bias = torch.full((4, 2), -1.0, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    h = activity(inputs, weight, bias, out=weight.new_empty(3, 4))
    dz = goodness_backward(h, losses_backward(goodness(h), torch.ones(3, dtype=torch.float64), 1.5))
    assert torch.count_nonzero(dz) == 0


class Hours:
    """The same hours of random data for the engine and for autograd."""

    def __init__(self, *, rows: int, widths: list[int], classes: int, seed: int, shared: bool) -> None:
        self.random = torch.Generator().manual_seed(seed)
        self.rows, self.widths, self.classes, self.shared = rows, widths, classes, shared

    def images(self) -> Tensor:
        return torch.randn(self.rows, self.widths[0], generator=self.random, dtype=torch.float64)

    def labels(self) -> Tensor:
        return torch.randint(0, self.classes, (self.rows,), generator=self.random)

    def hour(self) -> tuple[Labelled, Labelled]:
        images = self.images()
        other = images if self.shared else self.images()
        return Labelled(images, self.labels(), 2.5), Labelled(other, self.labels(), 2.5)

    def networks(
        self, rates: dict[Phase, float], updates: int, betas: tuple[float, float] = (0.9, 0.999)
    ) -> tuple[Network, AutogradNetwork]:
        network = initial_network(
            self.widths[0],
            self.widths[1:],
            tuple(rates),
            classes=self.classes,
            dtype=torch.float64,
            device=torch.device("cpu"),
            generator=self.random,
            betas=betas,
        )
        plain = AutogradNetwork(self.widths, rates, updates=updates, betas=betas).double()
        plain.load((layer.weight, layer.bias) for layer in network.layers)
        return network, plain


@given(
    rows=sizes,
    widths=st.lists(st.integers(4, 9), min_size=2, max_size=4),
    classes=st.integers(2, 4),
    updates=st.integers(1, 3),
    phase=st.sampled_from(["positive", "negative", "joint"]),
    shared=st.booleans(),
    betas=st.tuples(st.floats(0, 0.95), st.floats(0.5, 0.9999)),
    seed=seeds,
)
@settings(deadline=None, max_examples=60)
def test_hours_equal_autograd(
    rows: int,
    widths: list[int],
    classes: int,
    updates: int,
    phase: Phase,
    shared: bool,
    betas: tuple[float, float],
    seed: int,
) -> None:
    hours = Hours(rows=rows, widths=widths, classes=classes, seed=seed, shared=shared)
    network, plain = hours.networks({phase: 0.01}, updates, betas)
    for _ in range(3):
        positive, negative = hours.hour()
        kinds = [(positive, 1.0)] * (phase != "negative") + [(negative, -1.0)] * (phase != "positive")
        overlaid = torch.cat([overlay(d, classes=classes, out=torch.empty_like(d.images)) for d, _ in kinds])
        sign = torch.cat([torch.full((rows,), value, dtype=torch.float64) for _, value in kinds])

        loss = plain.learn(overlaid, sign, phase)
        found = train_hour(
            network, *seen(phase, positive, negative), phase=phase, lr=0.01, threshold=1.5, updates=updates
        )

        assert abs(float(found.sum(1).mean()) / len(kinds) - loss) < 1e-9
        torch.testing.assert_close(goodness_by_layer(network, overlaid), plain.goodness(overlaid), rtol=1e-6, atol=1e-9)


@given(rows=st.integers(1, 30), classes=st.integers(2, 5), seed=seeds)
@settings(deadline=None, max_examples=30)
def test_evaluation_equals_overlaying_every_label(rows: int, classes: int, seed: int) -> None:
    hours = Hours(rows=rows, widths=[8, 7, 6], classes=classes, seed=seed, shared=False)
    network, plain = hours.networks({"joint": 0.01}, 1)
    images, labels = hours.images(), hours.labels()
    wrong = (labels + 1) % classes
    under = [
        plain.goodness(
            overlay(Labelled(images, torch.full_like(labels, k), 2.5), classes=classes, out=torch.empty_like(images))
        )
        for k in range(classes)
    ]
    expected = torch.stack(under, dim=1)
    torch.testing.assert_close(label_goodness(network, images, 2.5), expected)

    found = evaluate(network, Labelled(images, labels, 2.5), wrong)
    predicted = expected.sum(0).argmax(0)
    assert float(found.accuracy) == float((predicted == labels).sum()) * 100 / rows
    for values, chosen in ((found.goodness_true, labels), (found.goodness_wrong, wrong)):
        picked = torch.stack([expected[:, k, i] for i, k in enumerate(chosen.tolist())], dim=1)
        torch.testing.assert_close(values, picked.mean(1))


def test_a_wholly_dead_network_says_class_0() -> None:
    hours = Hours(rows=20, widths=[8, 5, 5], classes=4, seed=0, shared=False)
    network, _ = hours.networks({"joint": 0.01}, 1)
    for layer in network.layers:
        layer.weight.fill_(-1)
        layer.bias.fill_(-100)
    labels = torch.tensor([0] * 5 + [1] * 15)
    found = evaluate(network, Labelled(hours.images(), labels, 2.5), (labels + 1) % 4)
    assert float(found.accuracy) == 25
    assert [float(share) for share in found.dead_units] == [1, 1]


@given(rows=st.integers(2, 9), shared=st.booleans(), seed=seeds)
@settings(deadline=None, max_examples=20)
def test_bfloat16_products_stay_near_and_leave_the_rest_in_float32(rows: int, shared: bool, seed: int) -> None:
    """bfloat16 keeps 8 bits: products differ by less than 2 %, and parameters, moments and losses stay float32."""
    hours = Hours(rows=rows, widths=[16, 12, 10], classes=3, seed=seed, shared=shared)
    positive, negative = hours.hour()
    positive = positive._replace(images=positive.images.float())
    negative = negative._replace(images=positive.images if shared else negative.images.float())
    losses_by_precision = []
    for products in (torch.float32, torch.bfloat16):
        network = initial_network(
            16, [12, 10], ("joint",), classes=3, dtype=torch.float32, device=torch.device("cpu"),
            generator=torch.Generator().manual_seed(seed), products=products,
        )  # fmt: skip
        found = train_hour(network, positive, negative, phase="joint", lr=0.01, threshold=1.5, updates=2)
        losses_by_precision.append(found)
        adam = network.layers[0].adam["joint"]
        assert {found.dtype, network.layers[0].parameters.dtype, adam.exp_avg.dtype} == {torch.float32}
        assert label_goodness(network, positive.images, 2.5).dtype == torch.float32
    torch.testing.assert_close(losses_by_precision[1], losses_by_precision[0], rtol=0.02, atol=0.02)
    assert not torch.equal(losses_by_precision[1], losses_by_precision[0])
