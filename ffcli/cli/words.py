"""How the command line says things: one wording for every command."""

from __future__ import annotations

from collections.abc import Sequence

from ffcli.choices import Status
from ffcli.config import RunConfig
from ffcli.published import cell
from ffcli.report import protocol

PHASE_WORDS = {"positive": "positive", "negative": "negative", "joint": "both", None: "untrained"}
STATUS_STYLES: dict[Status, str] = {
    "running": "cyan",
    "completed": "green",
    "interrupted": "yellow",
    "stale": "yellow",
    "failed": "red",
    "superseded": "dim",
}
BARS = "▁▂▃▄▅▆▇█"


def describe(config: RunConfig) -> str:
    """`fashion, masks, 16:1, fast@1 with threshold 2.0, seed 0`: what tells one run from another."""
    parts = (config.data.label, config.negatives, str(config.schedule), protocol_of(config), f"seed {config.seed}")
    return ", ".join(parts)


def protocol_of(config: RunConfig) -> str:
    """The preset and what differs from it and from the defaults."""
    return protocol.describe(protocol.settings_of(config))


def published_line(config: RunConfig, accuracy: float | None) -> str | None:
    """How far from the paper's cell, where the paper has one for this data and these phases."""
    if config.data.source != "full":
        return None
    found = cell(config.data.name, config.negatives, config.schedule)
    if found is None:
        return None
    table, published = found
    if published is None:
        return f"published (table {table}): no learning"
    difference = "" if accuracy is None else f", {accuracy - published:+.1f} here"
    return f"published (table {table}): {published:g}{difference}"


def status_text(status: Status) -> str:
    return f"[{STATUS_STYLES[status]}]{status}[/]"


def duration(seconds: float) -> str:
    """`43 ms`, `0.4 s`, `12 s`, `3 min 20 s`, `10 h 30 min`."""
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def sparkline(accuracies: Sequence[float | None], width: int = 30) -> str:
    """The last `width` accuracies as bars from 0 to 100 %."""
    return "".join(" " if a is None else BARS[min(7, int(a * 8 / 100))] for a in accuracies[-width:])
