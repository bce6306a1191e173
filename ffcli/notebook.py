"""HTML representations for notebooks. All text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from ffcli.records import EpochMetrics

WIDTH, HEIGHT = 240, 60
"""Size of a curve in pixels."""


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """Return an HTML table."""
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{_text(value)}</td>' for value in row)}</tr>" for row in rows)
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def facts(title: str, values: Iterable[tuple[str, object]]) -> str:
    """Return a title and an HTML table with a line for each value."""
    lines = "".join(f"<tr><th>{escape(name)}</th><td>{_text(value)}</td></tr>" for name, value in values)
    return f"<div><strong>{escape(title)}</strong><table><tbody>{lines}</tbody></table></div>"


def curve(epochs: Sequence[EpochMetrics]) -> str:
    """Return an SVG of the accuracy by epoch, 0 to 100 %; empty if fewer than two epochs were evaluated."""
    measured = [(e.epoch, e.accuracy) for e in epochs if e.accuracy is not None]
    if len(measured) < 2:
        return ""
    last = measured[-1][0]
    points = " ".join(f"{WIDTH * epoch / last:.1f},{HEIGHT - HEIGHT * value / 100:.1f}" for epoch, value in measured)
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="accuracy by epoch, 0 to 100 %">'
        f'<polyline points="{points}" fill="none" stroke="currentColor"/></svg>'
    )


def _text(value: object) -> str:
    return "" if value is None else escape(f"{value:.2f}" if isinstance(value, float) else str(value))
