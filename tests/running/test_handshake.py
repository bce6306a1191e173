"""Workers that would give other bits are refused, with the reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ffcli.config import DataRef
from ffcli.planning import resolve
from ffcli.running.handshake import Site, refusal, site
from ffcli.settings import parse

DATA = DataRef(
    name="mnist", source="full", fingerprint="0", features=784, classes=10, train=60_000, test=10_000, largest_class=11
)
HERE = replace(site(), host="node1", cuda=True, gpus="NVIDIA H200", missing=None, bf16="AMX")


@pytest.mark.parametrize(
    ("precision", "device", "changed", "reason"),
    [
        ("bf16", "cpu", {"bf16": None}, "it has no instructions for bfloat16 products, node1 has AMX"),
        ("float32", "cpu", {"bf16": None, "gpus": None, "cuda": False}, None),
        ("float32", "cuda", {"gpus": "NVIDIA A100"}, "it has NVIDIA A100 GPU, node1 has NVIDIA H200"),
        ("bf16", "cuda", {"missing": "Triton"}, "it has Triton missing for the fused kernel, node1 has none"),
        ("bf16", "cuda", {"bf16": None}, None),
        ("float32", "cuda", {"cuda": False}, "it has no NVIDIA driver, and the runs need a CUDA device"),
        ("float32", "cpu", {"versions": {}}, "it has ffcli missing, the sweep "),
    ],
)
def test_workers_with_other_bits_are_refused(
    precision: str, device: str, changed: dict[str, Any], reason: str | None
) -> None:
    refused = refusal([resolve(parse({"precision": precision}), DATA, device=device)])
    assert refused(HERE) is None
    other: Site = replace(HERE, host="node2", **changed)
    found = refused(other)
    assert found is None if reason is None else (found or "").startswith(reason)
    assert refused(HERE) is None
