"""What a run is called in lists, titles and messages."""

from __future__ import annotations

from ffcli.config import RunConfig
from ffcli.report import protocol
from ffcli.text import printable


def describe(config: RunConfig) -> str:
    """Return `fashion, masks, 16:1, fast@1 with threshold 2.0, seed 0`: what distinguishes a run from others."""
    return printable(", ".join(parts_of(config)))


def parts_of(config: RunConfig) -> tuple[str, ...]:
    """Return the parts of `describe`: dataset, negatives, schedule, protocol and seed."""
    return config.data.label, config.negatives, str(config.schedule), protocol_of(config), f"seed {config.seed}"


def protocol_of(config: RunConfig) -> str:
    """Return the preset, and what differs from it and from the defaults."""
    return protocol.describe(protocol.settings_of(config))
