"""Render the page as one HTML file that loads nothing.

Everything from the database is text: Jinja2 escapes it, control characters are made visible, and the page's content
security policy admits no style sheet and no program except the two whose digests it names.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ffcli.errors import BadOption
from ffcli.files import replacing
from ffcli.report.colours import FAR, NEAR
from ffcli.text import printable
from ffcli.web.content import Content


def policy(*, live: bool = False) -> str:
    """Return the page's content security policy. A live page may also ask its own server for a newer version."""
    source = "'self'" if live else "'none'"
    return (
        f"default-src 'none'; style-src {_digest('page.css')}; script-src {_digest('page.js')}; connect-src {source};"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )


def render(content: Content, *, live: bool = False) -> str:
    """Return the page.

    Args:
        content: what it shows.
        live: whether the page asks the server that it came from for a newer version every few seconds.
    """
    return _environment().get_template("page.html").render(
        content=content, live=live, policy=policy(live=live), near=NEAR, far=FAR,
        style=Markup(_source("page.css")), program=Markup(_source("page.js")),
    )  # fmt: skip


def check_file(file: Path, database: Path) -> None:
    """Check the name of a file for the page, before anything is computed.

    Raises:
        BadOption: if the page cannot be written there.
    """
    if file.is_dir():
        raise BadOption(f"--html {file} is a folder: give the name of a file")
    if not file.absolute().parent.is_dir():
        raise BadOption(f"--html {file}: there is no folder {file.parent}")
    if file.exists() and database.exists() and file.samefile(database):
        raise BadOption(f"--html {file} is the database: give another path")


def write(content: Content, file: Path) -> None:
    """Write the page to a file, atomically.

    Raises:
        StorageFull: if no space is left.
        BadOption: if the file cannot be written for another reason.
    """
    text = render(content)
    try:
        with replacing(file.resolve()) as part:
            part.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise BadOption(f"--html {file}: {(error.strerror or str(error)).lower()}") from error


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ffcli.web"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment


def _visible(value: Any) -> Any:
    """Text from the database without control characters; text of the page itself as it is."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _source(name: str) -> str:
    loader = _environment().loader
    assert loader is not None
    return loader.get_source(_environment(), name)[0]


def _digest(name: str) -> str:
    digest = hashlib.sha256(_source(name).encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
