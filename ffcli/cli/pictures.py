"""Files that pictures are drawn into."""

from __future__ import annotations

from pathlib import Path

from ffcli.errors import BadOption

PICTURES = (".svg", ".png", ".pdf")


def check_picture(option: str, file: Path) -> None:
    """Raise BadOption where the file that `option` named has no picture's suffix, or its folder is not there."""
    if file.suffix.lower() not in PICTURES:
        raise BadOption(f"{option} {file}: the name ends in {', '.join(PICTURES[:-1])} or {PICTURES[-1]}")
    if not file.absolute().parent.is_dir():
        raise BadOption(f"{option} {file}: there is no folder {file.parent}")
