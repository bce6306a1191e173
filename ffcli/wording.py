"""Words that every part says alike."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """`1 cell`, `2 cells`, `0 superseded runs`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def plain(text: str) -> str:
    """Text for matplotlib, which sets what stands between two dollar signs as mathematics."""
    return text.replace("$", r"\$")
