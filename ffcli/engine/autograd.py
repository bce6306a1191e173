"""The reference implementation: the same mathematics in plain `torch.nn` and autograd, for tests and `ff bench`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ffcli.engine.goodness import EPSILON
from ffcli.engine.objectives import MEAN, Objective
from ffcli.engine.optimisers import DEFAULT_HYPER, Hyperparameters
from ffcli.schedule import Phase


class AutogradLayer(nn.Module):
    """One layer as the published code defines it, with an optimiser for each phase."""

    def __init__(
        self,
        inputs: int,
        units: int,
        rates: dict[Phase, float],
        *,
        threshold: float,
        updates: int,
        objective: Objective,
        hyper: Hyperparameters,
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, units)
        self.optimisers = {
            phase: torch.optim.AdamW(
                self.parameters(), lr=lr, betas=(hyper.beta1, hyper.beta2), weight_decay=hyper.weight_decay
            )
            for phase, lr in rates.items()
        }
        self.threshold, self.updates, self.objective = threshold, updates, objective

    def forward(self, v: Tensor) -> Tensor:
        """Return the activity (rows, units) for the output of the layer below (rows, inputs)."""
        direction = v / (torch.linalg.vector_norm(v, dim=1, keepdim=True) + EPSILON)
        activity: Tensor = torch.relu(self.linear(direction))
        return activity

    def goodness(self, activity: Tensor) -> Tensor:
        """Return the goodness (rows,) of an activity (rows, units)."""
        return activity.pow(2).sum(1) / self.objective.divisor(activity.shape[1])

    def loss(self, activity: Tensor, sign: Tensor) -> Tensor:
        """Return the mean loss, (). `sign` (rows,) is 1 for positive and -1 for negative rows."""
        margin = self.threshold - self.goodness(activity)
        return softplus(self.objective.polarity * sign * margin, threshold=50).mean()

    def learn(self, v: Tensor, sign: Tensor, phase: Phase) -> tuple[Tensor, float]:
        """Take all updates on one batch. Returns the output for the next layer and the mean loss."""
        total = 0.0
        for _ in range(self.updates):
            loss = self.loss(self(v), sign)
            self.optimisers[phase].zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimisers[phase].step()
            total += float(loss.detach())
        with torch.no_grad():
            return self(v), total / self.updates


class AutogradNetwork(nn.Module):
    """A stack of layers. Its inputs already carry their labels."""

    def __init__(
        self,
        widths: Sequence[int],
        rates: dict[Phase, float],
        *,
        threshold: float = 1.5,
        updates: int = 1,
        objective: Objective = MEAN,
        hyper: Hyperparameters = DEFAULT_HYPER,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            AutogradLayer(inputs, units, rates, threshold=threshold, updates=updates, objective=objective, hyper=hyper)
            for inputs, units in pairwise(widths)
        )

    def learn(self, v: Tensor, sign: Tensor, phase: Phase) -> float:
        """Train on one batch (rows, features). Returns the mean loss over layers and updates."""
        losses = []
        for layer in self._stack():
            v, loss = layer.learn(v, sign, phase)
            losses.append(loss)
        return sum(losses) / len(losses)

    def goodness(self, v: Tensor) -> Tensor:
        """Return the goodness (layers, rows) of a batch (rows, features)."""
        found = []
        with torch.no_grad():
            for layer in self._stack():
                v = layer(v)
                found.append(layer.goodness(v))
        return torch.stack(found)

    def load(self, parameters: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Copy (weight, bias) of each layer into this network."""
        with torch.no_grad():
            for layer, (weight, bias) in zip(self._stack(), parameters, strict=True):
                layer.linear.weight.copy_(weight)
                layer.linear.bias.copy_(bias)

    def _stack(self) -> list[AutogradLayer]:
        return list(self.layers)  # type: ignore[arg-type]
