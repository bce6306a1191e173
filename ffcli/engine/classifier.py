"""A trained network as a torch module: images in, labels and goodness out.

The module computes what `ffcli.engine.network` computes, without buffers that are reused, so that it can be exported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from ffcli.engine.goodness import EPSILON
from ffcli.engine.objectives import Objective


class Classifier(nn.Module):
    """A trained network with the normalisation of its images.

    The parameters are named `layers.0.weight` (units, inputs), `layers.0.bias` (units,) and so on, and require no
    gradient.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        layers: Iterable[tuple[Tensor, Tensor]],
        *,
        classes: int,
        mean: Sequence[float],
        std: Sequence[float],
        amplitude: float,
        objective: Objective,
        products: torch.dtype | None = None,
    ) -> None:
        """Create the module.

        Args:
            layers: weights (units, inputs) and biases (units,) of each layer.
            classes: number of labels K.
            mean: mean of each channel of pixels / 255 (C,).
            std: standard deviation of each channel of pixels / 255 (C,).
            amplitude: value of the label's feature, in units of normalised pixels.
            objective: definition of goodness.
            products: type in which matrix products are computed; None for that of the parameters.
        """
        super().__init__()
        self.layers = nn.ModuleList(_linear(weight, bias) for weight, bias in layers)
        dtype = next(self.parameters()).dtype
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values, dtype=dtype).mul_(255).view(1, -1, 1), persistent=False)
        self.classes = classes
        self.amplitude = amplitude
        self.objective = objective
        self.products = products

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Classify images.

        Args:
            images: pixels 0 to 255 (N, C, H, W), uint8.

        Returns:
            The labels (N,): those with the largest goodness summed over the layers; ties go to the lowest label. And
            the goodness of each layer under each label (N, layers, K).
        """
        first, *deeper = self.layers
        assert isinstance(first, nn.Linear)
        pixels = images.flatten(2).to(first.weight.dtype).sub(self.mean).div(self.std).flatten(1)
        # The label is written into the first K features, which otherwise are 0.
        blank = torch.cat([torch.zeros_like(pixels[:, : self.classes]), pixels[:, self.classes :]], dim=1)
        norm = torch.linalg.vector_norm(blank, dim=1, keepdim=True)
        inverse = norm.square().add(self.amplitude**2).sqrt().add(EPSILON).reciprocal()
        shared = torch.addcmul(first.bias, self._product(blank, first.weight), inverse)
        found = [
            self._goodness(torch.addcmul(shared, inverse * self.amplitude, first.weight[:, label].unsqueeze(0)), deeper)
            for label in range(self.classes)
        ]
        goodness = torch.stack(found, dim=1)  # (layers, K, N)
        total = goodness.sum(0).mul(self.objective.polarity)
        labels = (total == total.amax(0)).to(torch.uint8).argmax(0)
        return labels, goodness.permute(2, 0, 1)

    def _goodness(self, z: Tensor, deeper: Iterable[nn.Module]) -> Tensor:
        """Return the goodness of each layer (layers, N). `z` is the first layer's, before its ReLU (N, units)."""
        h, found = z.relu(), []
        for above in (*deeper, None):
            norm = torch.linalg.vector_norm(h, dim=1)
            found.append(norm.square().div(self.objective.divisor(h.shape[1])))
            if isinstance(above, nn.Linear):
                inverse = norm.add(EPSILON).reciprocal().unsqueeze(1)
                h = torch.addcmul(above.bias, self._product(h, above.weight), inverse).relu()
        return torch.stack(found)

    def _product(self, inputs: Tensor, weight: Tensor) -> Tensor:
        """Return inputs weight' (N, units)."""
        if self.products is None:
            return torch.mm(inputs, weight.t())
        return torch.mm(inputs.to(self.products), weight.t().to(self.products)).to(inputs.dtype)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight, layer.bias = (nn.Parameter(tensor, requires_grad=False) for tensor in (weight, bias))
    return layer
