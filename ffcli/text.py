"""Small functions that turn values into text and text into values."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from datetime import UTC, datetime

UNBOUNDED = 10_000
"""Width, in characters, of an output that is never too narrow, such as a file: every row is one line."""

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that printed text must not have: control characters, line ends, characters that change the direction of
writing so that text reads differently, and bytes that are not UTF-8."""


def printable(text: str) -> str:
    """Return one line of text that is safe to print: control characters and line ends become escapes such as `\\x1b`.

    A label or a file name may contain sequences that a terminal executes, and may come from another database.
    """
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def csv_value(value: object) -> object:
    """Return a value for CSV: text is made printable, and a spreadsheet does not read it as a formula.

    As OWASP recommends, text that begins like a formula is preceded by `'`. Numbers, also as text, stay as they are.
    """
    if not isinstance(value, str):
        return value
    text = printable(value)
    if len(text) < 2 or text[0] not in "=+-@\uff1d\uff0b\uff0d\uff20":
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def local_time(moment: datetime) -> str:
    """Return `2025-01-31 12:00` in the user's time zone; in UTC, and with its name, if `TZ` names no time zone."""
    try:
        return f"{moment.astimezone():%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError):
        return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def duration(seconds: float) -> str:
    """Return `43 ms`, `0.4 s`, `12 s`, `3 min 20 s` or `10 h 30 min`."""
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


def shown(value: object) -> str:
    """Return a value that a user gave as it appears in a message: on one line, and short."""
    try:
        text = printable(repr(value))
    except ValueError:  # Python refuses to write integers of many digits
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:60]}..."


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
