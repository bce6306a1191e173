"""Goodness of each test image in a trained network: what the figure of distributions shows."""

from __future__ import annotations

import torch

from ffcli.engine.labels import Labelled, overlay
from ffcli.engine.network import Network, goodness_by_layer, label_goodness, percent_correct, predict
from ffcli.records import GoodnessSamples


def goodness_samples(network: Network, test: Labelled, negative: Labelled) -> GoodnessSamples:
    """Return the goodness of test images with their true and best wrong labels, and of negatives.

    Args:
        network: a trained network; not changed.
        test: N test images with their true labels.
        negative: negatives made of them.
    """
    found = label_goodness(network, test.images, test.amplitude)
    without_true = found.clone()
    true = test.labels.expand(len(found), 1, -1)
    without_true.scatter_(1, true, -network.polarity * torch.inf)
    best_wrong = predict(network, without_true).expand(len(found), 1, -1)
    shown = overlay(negative, classes=network.classes, out=torch.empty_like(negative.images))
    return GoodnessSamples(
        true=found.gather(1, true).squeeze(1).cpu().numpy(),
        wrong=found.gather(1, best_wrong).squeeze(1).cpu().numpy(),
        negatives=goodness_by_layer(network, shown).cpu().numpy(),
        accuracy=float(percent_correct(predict(network, found), test.labels)),
    )
