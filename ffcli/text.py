"""Small functions that turn values into text and text into values."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 cell`, `2 cells`, `0 superseded runs`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def unknown(what: str, given: str, known: Iterable[str]) -> str:
    """Return an error message for an unknown name: the most similar known name, and all known names."""
    names = list(known)
    near = difflib.get_close_matches(given.lower(), names, n=1, cutoff=0.5)
    guess = f"did you mean '{near[0]}'? " if near else ""
    known_names = f"there are {', '.join(names)}" if len(names) != 1 else f"the only one is {names[0]}"
    return f"unknown {what} '{given}': {guess}{known_names}"


def parse_ranges(text: str) -> list[range]:
    """Parse whole numbers and ranges of them: `1-4,37` becomes [range(1, 5), range(37, 38)].

    Raises:
        ValueError: if the text has another form.
    """
    ranges = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip(), flags=re.ASCII)
        if not found or (found[2] and int(found[2]) < int(found[1])):
            raise ValueError(f"not a list of whole numbers and ranges: {text!r}")
        ranges.append(range(int(found[1]), int(found[2] or found[1]) + 1))
    return ranges


def consecutive(numbers: Iterable[int]) -> list[range]:
    """Return the sorted numbers as ranges; consecutive numbers share one range."""
    ranges: list[range] = []
    for number in sorted(set(numbers)):
        if ranges and ranges[-1].stop == number:
            ranges[-1] = range(ranges[-1].start, number + 1)
        else:
            ranges.append(range(number, number + 1))
    return ranges


def named(noun: str, numbers: Iterable[int]) -> str:
    """Return a noun with its numbers: `phase 5`, `phases 1-4,37`."""
    ranges = consecutive(numbers)
    shown = ",".join(f"{r[0]}-{r[-1]}" if len(r) > 1 else f"{r[0]}" for r in ranges)
    return f"{noun}{'s' if sum(map(len, ranges)) > 1 else ''} {shown}"
