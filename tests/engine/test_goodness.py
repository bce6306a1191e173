"""Hand-written gradients, whole hours and evaluations equal plain autograd in float64, over random shapes."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import softplus

from ffcli.engine.autograd import AutogradNetwork
from ffcli.engine.goodness import EPSILON, Rows, SharedImages, goodness, loss_gradient, normalise
from ffcli.engine.labels import Labelled, overlay
from ffcli.engine.layer import Hour
from ffcli.engine.network import (
    Network,
    evaluate,
    goodness_by_layer,
    initial_network,
    label_goodness,
    train_hour,
    used_data,
)
from ffcli.engine.objectives import MEAN, OBJECTIVES, Objective
from ffcli.engine.optimisers import DEFAULT_HYPER, Hyperparameters
from ffcli.schedule import Phase

CPU = torch.device("cpu")
sizes = st.integers(1, 9)
seeds = st.integers(0, 2**31)
# From weights so small that nothing is active to goodness far beyond where sigma saturates.
scales = st.sampled_from([0.0, 1e-6, 1.0, 30.0, 1e4])
objectives = st.sampled_from([*OBJECTIVES.values(), Objective("negated", "the mean, to be lowered", lambda n: n, -1)])


@given(
    rows=sizes,
    inputs=sizes,
    units=sizes,
    scale=scales,
    bias=st.sampled_from([-5.0, 0.0, 3.0]),
    objective=st.sampled_from(sorted(OBJECTIVES)),
    seed=seeds,
)
@settings(deadline=None, max_examples=150)
def test_gradient_equals_autograd(
    rows: int, inputs: int, units: int, scale: float, bias: float, objective: str, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    v = torch.randn(rows, inputs, generator=random, dtype=torch.float64)
    weight = (torch.randn(units, inputs, generator=random, dtype=torch.float64) * scale).requires_grad_()
    biases = (torch.randn(units, generator=random, dtype=torch.float64) + bias).requires_grad_()
    sign = torch.randint(0, 2, (rows,), generator=random).double() * 2 - 1

    direction = v / (v.norm(dim=1, keepdim=True) + EPSILON)
    squares = torch.relu(direction @ weight.t() + biases).square()
    expected_goodness = {"mean": squares.mean(1), "sum": squares.sum(1)}[objective]
    expected = softplus(sign * (1.5 - expected_goodness), threshold=50)
    expected.mean().backward()  # type: ignore[no-untyped-call]

    x = Rows(normalise(v, out=torch.empty_like(v)))
    h, divisor = v.new_empty(rows, units), OBJECTIVES[objective].divisor(units)
    weight_gradient, bias_gradient = torch.empty_like(weight), torch.empty_like(biases)
    losses = loss_gradient(
        x, weight.detach(), biases.detach(), sign, threshold=1.5, divisor=divisor, h=h,
        weight_gradient=weight_gradient, bias_gradient=bias_gradient,
    )  # fmt: skip

    torch.testing.assert_close(losses, expected.detach())
    torch.testing.assert_close(weight_gradient, weight.grad)
    torch.testing.assert_close(bias_gradient, biases.grad)
    torch.testing.assert_close(goodness(squares.detach().sqrt(), divisor), expected_goodness.detach())


@pytest.mark.parametrize("shared", [False, True])
def test_gradient_of_dead_units_is_zero(shared: bool) -> None:
    ones = torch.ones(4, 3, dtype=torch.float64)
    weight, bias = -ones, torch.zeros(4, dtype=torch.float64)
    gradients = torch.empty_like(weight), torch.empty_like(bias)
    loss_gradient(
        SharedImages(ones[:2], ones[:, :2]) if shared else Rows(ones), weight, bias, ones[:, 0], threshold=1.5,
        divisor=4, h=torch.empty(4, 4, dtype=torch.float64), weight_gradient=gradients[0], bias_gradient=gradients[1],
    )  # fmt: skip
    assert [torch.count_nonzero(gradient).item() for gradient in gradients] == [0, 0]


@dataclass
class Hours:
    """The same random data for the engine and for the reference implementation."""

    rows: int
    widths: list[int]
    classes: int
    seed: int
    shared: bool = False
    random: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.random = torch.Generator().manual_seed(self.seed)

    def images(self) -> Tensor:
        return torch.randn(self.rows, self.widths[0], generator=self.random, dtype=torch.float64)

    def labels(self) -> Tensor:
        return torch.randint(0, self.classes, (self.rows,), generator=self.random)

    def hour(self) -> tuple[Labelled, Labelled]:
        images = self.images()
        other = images if self.shared else self.images()
        return Labelled(images, self.labels(), 2.5), Labelled(other, self.labels(), 2.5)

    def networks(
        self,
        rates: dict[Phase, float],
        updates: int,
        objective: Objective = MEAN,
        hyper: Hyperparameters = DEFAULT_HYPER,
    ) -> tuple[Network, AutogradNetwork]:
        network = initial_network(
            self.widths[0], self.widths[1:], tuple(rates), classes=self.classes, dtype=torch.float64, device=CPU,
            generator=self.random, objective=objective, hyper=hyper,
        )  # fmt: skip
        plain = AutogradNetwork(self.widths, rates, updates=updates, objective=objective, hyper=hyper).double()
        plain.load((layer.weight, layer.bias) for layer in network.layers)
        return network, plain

    def overlaid(self, data: Labelled) -> Tensor:
        return overlay(data, classes=self.classes, out=torch.empty_like(data.images))


@given(
    rows=sizes,
    widths=st.lists(st.integers(4, 9), min_size=2, max_size=4),
    classes=st.integers(2, 4),
    updates=st.integers(1, 3),
    phase=st.sampled_from(["positive", "negative", "joint"]),
    shared=st.booleans(),
    objective=objectives,
    hyper=st.builds(Hyperparameters, st.floats(0, 0.95), st.floats(0.5, 0.9999), st.sampled_from([0.0, 0.3])),
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
    objective: Objective,
    hyper: Hyperparameters,
    seed: int,
) -> None:
    hours = Hours(rows, widths, classes, seed, shared)
    network, plain = hours.networks({phase: 0.01}, updates, objective, hyper)
    for _ in range(3):
        data = hours.hour()
        used = [(kind, sign) for kind, sign in zip(used_data(phase, *data), (1.0, -1.0), strict=True) if kind]
        overlaid = torch.cat([hours.overlaid(kind) for kind, _ in used])
        sign = torch.cat([torch.full((rows,), value, dtype=torch.float64) for _, value in used])

        loss = plain.learn(overlaid, sign, phase)
        found = train_hour(network, Hour(phase, 0.01, 1.5, updates), *data)

        assert abs(float(found.sum(1).mean()) / len(used) - loss) < 1e-9
        torch.testing.assert_close(goodness_by_layer(network, overlaid), plain.goodness(overlaid), rtol=1e-6, atol=1e-9)


@given(rows=st.integers(1, 30), classes=st.integers(2, 5), objective=objectives, seed=seeds)
@settings(deadline=None, max_examples=30)
def test_evaluation_equals_overlaying_every_label(rows: int, classes: int, objective: Objective, seed: int) -> None:
    hours = Hours(rows, [8, 7, 6], classes, seed)
    network, plain = hours.networks({"joint": 0.01}, 1, objective)
    images, labels = hours.images(), hours.labels()
    wrong = (labels + 1) % classes
    under = [plain.goodness(hours.overlaid(Labelled(images, torch.full_like(labels, k), 2.5))) for k in range(classes)]
    expected = torch.stack(under, dim=1)
    torch.testing.assert_close(label_goodness(network, images, 2.5), expected)

    found = evaluate(network, Labelled(images, labels, 2.5), wrong)
    predicted = (objective.polarity * expected.sum(0)).argmax(0)
    assert float(found.accuracy) == float((predicted == labels).sum()) * 100 / rows
    for values, chosen in ((found.goodness_true, labels), (found.goodness_wrong, wrong)):
        picked = torch.stack([expected[:, k, i] for i, k in enumerate(chosen.tolist())], dim=1)
        torch.testing.assert_close(values, picked.mean(1))


def test_dead_network_predicts_class_0() -> None:
    hours = Hours(20, [8, 5, 5], classes=4, seed=0)
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
def test_bfloat16_products_are_close_and_the_rest_stays_float32(rows: int, shared: bool, seed: int) -> None:
    """bfloat16 has 8 significant bits: products differ by less than 2 %; parameters, moments and losses are float32."""
    hours = Hours(rows, [16, 12, 10], 3, seed, shared)
    positive, negative = hours.hour()
    positive = positive._replace(images=positive.images.float())
    negative = negative._replace(images=positive.images if shared else negative.images.float())
    losses_by_precision = []
    for products in (torch.float32, torch.bfloat16):
        network = initial_network(
            16, [12, 10], ("joint",), classes=3, dtype=torch.float32, device=CPU,
            generator=torch.Generator().manual_seed(seed), products=products,
        )  # fmt: skip
        found = train_hour(network, Hour("joint", 0.01, 1.5, 2), positive, negative)
        losses_by_precision.append(found)
        layer = network.layers[0]
        assert {found.dtype, layer.parameters.dtype, layer.states["joint"]["exp_avg"].dtype} == {torch.float32}
        assert label_goodness(network, positive.images, 2.5).dtype == torch.float32
    torch.testing.assert_close(losses_by_precision[1], losses_by_precision[0], rtol=0.02, atol=0.02)
    assert not torch.equal(losses_by_precision[1], losses_by_precision[0])
