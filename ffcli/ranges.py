"""Whole numbers as one writes them: `1-4,37`."""

from __future__ import annotations

import re
from collections.abc import Iterable


def parse_ranges(text: str) -> list[range]:
    """`1-4,37` -> a range for each part. Raises ValueError."""
    ranges = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip(), flags=re.ASCII)
        if not found or (found[2] and int(found[2]) < int(found[1])):
            raise ValueError(f"no whole numbers and ranges of them: {text!r}")
        ranges.append(range(int(found[1]), int(found[2] or found[1]) + 1))
    return ranges


def consecutive(numbers: Iterable[int]) -> list[range]:
    """The numbers in order, those that follow each other as one range."""
    ranges: list[range] = []
    for number in sorted(set(numbers)):
        if ranges and ranges[-1].stop == number:
            ranges[-1] = range(ranges[-1].start, number + 1)
        else:
            ranges.append(range(number, number + 1))
    return ranges


def named(noun: str, numbers: Iterable[int]) -> str:
    """`phase 5`, `phases 1-4,37`."""
    ranges = consecutive(numbers)
    shown = ",".join(f"{r[0]}-{r[-1]}" if len(r) > 1 else f"{r[0]}" for r in ranges)
    return f"{noun}{'s' if sum(map(len, ranges)) > 1 else ''} {shown}"
