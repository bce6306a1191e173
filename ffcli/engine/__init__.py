"""The training engine: Forward-Forward layers with hand-written gradients, on PyTorch tensors.

The registries `objectives`, `optimisers` and `cures` do not import torch, so that help and shell completion can list
their entries quickly.
"""
