"""How the processor computes, for a whole process."""

from __future__ import annotations

import torch


def prepare(threads: int | None = None, *, tf32: bool = False) -> None:
    """Flush denormal numbers to zero, and take so many threads for matrix products (None: torch's own number).

    `tf32`: whether CUDA devices multiply float32 numbers with 11 significant bits.

    Call it before anything is computed: torch's threads take over how the one that starts them flushes. The first
    moment of a dead unit decays by a tenth with each step until only denormal numbers are left of it, with which a step
    takes up to twenty times as long.
    """
    torch.set_flush_denormal(True)
    torch.backends.cuda.matmul.allow_tf32 = tf32
    if threads is not None:
        torch.set_num_threads(threads)
