"""The same mathematics in plain `torch.nn` and autograd: the oracle of the tests and of `ff bench`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ffcli.config import BETA1, BETA2
from ffcli.engine.goodness import EPSILON
from ffcli.schedule import Phase


class AutogradLayer(nn.Module):
    """One layer as the published code has it, with an optimiser for each phase."""

    def __init__(
        self,
        inputs: int,
        units: int,
        rates: dict[Phase, float],
        *,
        threshold: float,
        updates: int,
        betas: tuple[float, float],
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, units)
        self.optimisers = {
            phase: torch.optim.Adam(self.parameters(), lr=lr, betas=betas) for phase, lr in rates.items()
        }
        self.threshold, self.updates = threshold, updates

    def forward(self, v: Tensor) -> Tensor:
        direction = v / (torch.linalg.vector_norm(v, dim=1, keepdim=True) + EPSILON)
        activity: Tensor = torch.relu(self.linear(direction))
        return activity

    def learn(self, v: Tensor, sign: Tensor, phase: Phase) -> tuple[Tensor, float]:
        """All updates on one batch; the output for the next layer, and the mean loss."""
        total = 0.0
        for _ in range(self.updates):
            goodness = self(v).pow(2).mean(1)
            loss = softplus(sign * (self.threshold - goodness), threshold=50).mean()
            self.optimisers[phase].zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimisers[phase].step()
            total += float(loss.detach())
        with torch.no_grad():
            return self(v), total / self.updates


class AutogradNetwork(nn.Module):
    """The stack; `learn` takes data with labels already overlaid."""

    def __init__(
        self,
        widths: Sequence[int],
        rates: dict[Phase, float],
        *,
        threshold: float = 1.5,
        updates: int = 1,
        betas: tuple[float, float] = (BETA1, BETA2),
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            AutogradLayer(inputs, units, rates, threshold=threshold, updates=updates, betas=betas)
            for inputs, units in pairwise(widths)
        )

    def learn(self, v: Tensor, sign: Tensor, phase: Phase) -> float:
        """One hour; the mean loss over layers and updates."""
        losses = []
        for layer in self._stack():
            v, loss = layer.learn(v, sign, phase)
            losses.append(loss)
        return sum(losses) / len(losses)

    def goodness(self, v: Tensor) -> Tensor:
        """(layers, rows)"""
        found = []
        with torch.no_grad():
            for layer in self._stack():
                v = layer(v)
                found.append(v.pow(2).mean(1))
        return torch.stack(found)

    def load(self, parameters: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Take over (weight, bias) of each layer."""
        with torch.no_grad():
            for layer, (weight, bias) in zip(self._stack(), parameters, strict=True):
                layer.linear.weight.copy_(weight)
                layer.linear.bias.copy_(bias)

    def _stack(self) -> list[AutogradLayer]:
        return list(self.layers)  # type: ignore[arg-type]
