"""The kernel for CUDA devices computes what `ffcli.engine.goodness` does; Triton can also interpret it on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

PROGRAM = """
import sys

import torch
from torch.testing import assert_close

from ffcli.engine import fused, goodness
from ffcli.engine.goodness import Rows, SharedImages, normalise

device, random = torch.device(sys.argv[1]), torch.Generator().manual_seed(0)


def values(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=random).to(device, dtype)


def gradients(module, inputs, weight, bias, sign, divisor, dtype):
    if isinstance(inputs, Rows):
        inputs = Rows(inputs.x.to(torch.bfloat16 if dtype == torch.bfloat16 else dtype))
    real = torch.float32 if dtype == torch.bfloat16 else dtype
    if isinstance(inputs, SharedImages):
        inputs = SharedImages(inputs.images.to(dtype), inputs.labels.to(real))
    weight, bias = weight.to(real), bias.to(real)
    found = torch.empty_like(weight), torch.empty_like(bias)
    losses = module.loss_gradient(
        inputs, weight, bias, sign.to(real), threshold=1.7, divisor=divisor, h=weight.new_empty(len(sign), len(bias)),
        weight_gradient=found[0], bias_gradient=found[1],
    )
    return losses, *found


for rows, features, units in [(8, 12, 5), (2, 7, 1), (16, 30, 130), (6, 5, 500)]:
    for scale in (0.0, 1.0, 1e4):
        for shared in (False, True):
            weight, bias = values(units, features) * scale, values(units)
            sign = torch.where(values(rows) > 0, 1.0, -1.0)
            sign = sign if rows > 2 else sign[:1].expand(rows)
            images = normalise(values(rows, features), out=values(rows, features))
            inputs = SharedImages(images[: rows // 2], values(rows, 4)) if shared else Rows(images)
            for divisor in (1, units):
                given = inputs, weight, bias, sign, divisor
                exact = gradients(goodness, *given, torch.float64)
                for ours, expected in zip(gradients(fused, *given, torch.float32), exact, strict=True):
                    assert_close(ours.double(), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()) + 1e-7)
                for ours, plain in zip(*(gradients(m, *given, torch.bfloat16) for m in (fused, goodness)), strict=True):
                    assert_close(ours, plain, rtol=1e-2, atol=1e-2 * float(plain.abs().max()) + 1e-7)

weight = torch.full((3, 4), torch.nan, device=device)
given = Rows(weight.new_ones(2, 4)), weight, weight[:, 0], weight.new_ones(2), 3
assert all(bool(found.isnan().all()) for found in gradients(fused, *given, torch.float32)), "NaN was lost"
"""


@pytest.mark.skipif(not find_spec("triton"), reason="Triton is not installed")
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_kernel_equals_the_written_equations(device: str) -> None:
    if device == "cuda" and not torch.cuda.device_count():
        pytest.skip("no CUDA device")
    environment = os.environ | ({"TRITON_INTERPRET": "1"} if device == "cpu" else {})
    done = subprocess.run([sys.executable, "-c", PROGRAM, device], env=environment, capture_output=True, text=True)
    assert not done.returncode, done.stderr
