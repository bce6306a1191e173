"""Wording that several commands share."""

from __future__ import annotations

from collections.abc import Sequence

from ffcli.choices import Status
from ffcli.config import RunConfig
from ffcli.published import cell
from ffcli.report.colours import STYLES
from ffcli.report.titles import describe, protocol_of
from ffcli.text import duration, printable

__all__ = ["BARS", "PHASE_WORDS", "describe", "duration", "protocol_of", "published_line", "sparkline", "status_text"]

PHASE_WORDS = {"positive": "positive", "negative": "negative", "joint": "both", None: "untrained"}
"""Words for the phase of an epoch's last hour, at most nine characters."""

BARS = "▁▂▃▄▅▆▇█"


def published_line(config: RunConfig, accuracy: float | None) -> str | None:
    """Return the paper's figure and the distance from it; None if the paper has no such cell.

    A cured run has no distance: the paper's figure is that of another algorithm.
    """
    if config.data.source != "full":
        return None
    found = cell(config.data.name, config.negatives, config.schedule)
    if found is None:
        return None
    table, published = found
    if config.cure:
        return f"the paper without a cure: {'no learning' if published is None else f'{published:g}'} (table {table})"
    if published is None:
        return f"published (table {table}): no learning"
    difference = "" if accuracy is None else f", {accuracy - published:+.1f} here"
    return f"published (table {table}): {published:g}{difference}"


def safe(text: str) -> str:
    """Return text that others wrote as rich's markup on one line."""
    from rich.markup import escape

    return escape(printable(text))


def status_text(status: Status) -> str:
    """Return a run's status with rich's markup."""
    return f"[{STYLES[status]}]{status}[/]"


def sparkline(accuracies: Sequence[float | None], width: int = 30) -> str:
    """Return the last `width` accuracies as bars from 0 to 100 %."""
    return "".join(" " if a is None else BARS[min(7, int(a * 8 / 100))] for a in accuracies[-width:])
