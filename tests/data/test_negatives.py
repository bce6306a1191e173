"""Negatives against their definition and the recorded masks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import conv2d

from ffcli.data.negatives import STRATEGIES, Pool, blur_matrix, blurred_mask, random_bits, wrong_labels

RECORDED = Path(os.environ.get("FFCLI_TRAJECTORIES") or Path(__file__).parents[1] / "reference")


def pool(images: torch.Tensor, shape: tuple[int, int, int], *, classes: int = 10, times: int = 5) -> Pool:
    dtype = torch.float32 if times <= 6 else torch.float64
    rows, columns = (torch.from_numpy(blur_matrix(n, times)).to(dtype) for n in shape[1:])
    return Pool(images, classes, shape, (rows, columns))


@pytest.mark.parametrize("name", ["masks_gray", "masks_rgb"])
def test_masks_equal_the_recorded_ones(name: str) -> None:
    with np.load(RECORDED / f"{name}.npz") as arrays:
        a, b, uniform, negative = (torch.from_numpy(arrays[n]) for n in ("a", "b", "uniform", "negative"))
    around = pool(a.flatten(1), (a.shape[1], a.shape[2], a.shape[3]))
    mask = blurred_mask((uniform < 0.5).flatten(1), around)
    assert torch.equal(a.where(mask.view(a.shape), b), negative)


@given(height=st.integers(1, 12), width=st.integers(1, 12), times=st.integers(0, 12), seed=st.integers(0, 2**31))
@settings(max_examples=60)
def test_mask_equals_blurring_by_convolution(height: int, width: int, times: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    shape = (2, height, width)
    a, b = (torch.rand(3, 2 * height * width, generator=random) for _ in range(2))
    bits = random_bits(torch.zeros(3, dtype=torch.int64), 2 * height * width, generator=random)

    kernel = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=torch.float64).view(1, 1, 3, 3) / 16
    field = bits.double().view(-1, 1, height, width)
    for _ in range(times):
        field = conv2d(field, kernel, padding=1)
    expected = torch.where(field.view(3, -1) < 0.5, a, b)

    assert torch.equal(a.where(blurred_mask(bits, pool(a, shape, times=times)), b), expected)


@given(classes=st.integers(2, 12), seed=st.integers(0, 2**31))
@settings(max_examples=40)
def test_wrong_labels_are_never_the_true_label(classes: int, seed: int) -> None:
    labels = torch.arange(classes).repeat(200)
    wrong = wrong_labels(labels, classes, generator=torch.Generator().manual_seed(seed))
    assert not torch.any(wrong == labels)
    for k in range(classes):
        assert set(wrong[labels == k].tolist()) == set(range(classes)) - {k}


def test_random_bits_are_fair_and_reproducible() -> None:
    labels = torch.zeros(300, dtype=torch.int64)
    bits, again = (random_bits(labels, 785, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(bits, again)
    assert bits.shape == (300, 785)
    assert abs(float(bits.double().mean()) - 0.5) < 0.005
    assert float((bits.double().mean(0) - 0.5).abs().max()) < 0.2


def test_label_keeps_the_images_and_masks_mixes_two() -> None:
    images = torch.arange(6.0).view(6, 1).expand(6, 144).contiguous()
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    around = pool(images, (1, 12, 12), classes=3)
    random = torch.Generator().manual_seed(0)

    kept, wrong = STRATEGIES["label"].draw(images, labels, around, random)
    assert kept is images
    assert not torch.any(wrong == labels)

    again = random.clone_state()
    joined, wrong = STRATEGIES["masks"].draw(images, labels, around, random)
    assert not torch.any(wrong == labels)
    assert all(len(set(row.tolist())) <= 2 for row in joined)
    assert any(len(set(row.tolist())) == 2 for row in joined)
    assert STRATEGIES["masks"].steps is not None
    steps = STRATEGIES["masks"].steps(images, labels, around, again)
    assert torch.equal(joined, steps["parent a"].where(steps["mask"], steps["parent b"]))


def test_names_of_negatives_and_datasets_load_no_library() -> None:
    program = (
        "import sys; from ffcli.data.negatives import STRATEGIES; from ffcli.data.catalogue import CATALOGUE\n"
        "assert all(s.name == name and s.help for name, s in STRATEGIES.items()) and 'mnist' in CATALOGUE\n"
        "assert not {'torch', 'torchvision', 'numpy', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
