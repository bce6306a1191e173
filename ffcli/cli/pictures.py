"""The files that a picture may be drawn into."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ffcli.errors import BadOption
from ffcli.files import disk_full, is_disk_full

PICTURES = (".svg", ".png", ".pdf")


def check_picture(option: str, file: Path) -> None:
    """Raise BadOption where no picture can be drawn into the file that `option` names."""
    if file.suffix.lower() not in PICTURES:
        raise BadOption(f"{option} {file}: the name ends in {', '.join(PICTURES[:-1])} or {PICTURES[-1]}")
    if file.is_dir():
        raise BadOption(f"{option} {file} is a folder: give the name of a file")
    if not file.absolute().parent.is_dir():
        raise BadOption(f"{option} {file}: there is no folder {file.parent}")


@contextmanager
def drawing(option: str, file: Path) -> Iterator[None]:
    """Draw into the file that `option` names. Raises BadOption where it cannot be written, and StorageFull."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(file) from error
        raise BadOption(f"{option} {file} cannot be written: {(error.strerror or str(error)).lower()}") from error
