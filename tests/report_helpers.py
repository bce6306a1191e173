"""Helpers of the tests of reports."""

from __future__ import annotations

from ffcli.config import RunConfig
from ffcli.report.protocol import Protocol, signature


def admits(protocol: Protocol, config: RunConfig) -> bool:
    """Return whether a run belongs to the tables of a protocol."""
    return protocol.signature == signature(config) and protocol.fits(config)
