"""`ff serve`: the page of `ff report --html`, live in a browser."""

from __future__ import annotations

from typing import Annotated

import typer

from ffcli.cli.options import DatabaseOption, PresetFilter, TagFilter
from ffcli.cli.report import DataFilter, HorizonOption, MetricOption, NoPublishedOption


def serve(
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port; 0 for any.", show_default="8642, or the next free one"),
    ] = None,
    metric: MetricOption = "final",
    epochs: HorizonOption = None,
    no_published: NoPublishedOption = False,
    preset: PresetFilter = None,
    data: DataFilter = None,
    tag: TagFilter = None,
    db: DatabaseOption = None,
) -> None:
    """Show the tables, figures and runs in a browser on this machine, and keep them up to date; Ctrl-C ends it."""
    from ffcli.cli.console import line, message
    from ffcli.filters import known_preset
    from ffcli.report.protocol import select
    from ffcli.store.database import open_to_read
    from ffcli.store.location import database_path
    from ffcli.store.outcomes import summaries
    from ffcli.web.content import Content, read_content
    from ffcli.web.server import Page
    from ffcli.web.server import serve as serve_page

    known_preset(preset)
    reported: set[str] = set()

    def read() -> Content:
        """Read the database anew each time: a file that is only read may be replaced or created meanwhile."""
        damaged: set[str] = set()
        with open_to_read(db, read_only=True) as store:
            runs = select(summaries(store, lambda error: damaged.add(error.run)), data=data, tag=tag)
            content = read_content(
                store, runs, preset=preset, metric=metric, epochs=epochs, with_published=not no_published,
                skipped=lambda error: damaged.add(error.run),
            )  # fmt: skip
        for run in sorted(damaged - reported):
            message(f"left out: run {run} cannot be read; `ff db check` shows why, `ff delete {run}` removes it")
        reported.update(damaged)
        return content

    page = Page(database_path(db), read)
    page.current()  # reports a bad database before a browser is opened

    def ready(address: str) -> None:
        import sys

        line(address)
        sys.stdout.flush()
        message("Ctrl-C ends the server")

    serve_page(page, port, ready)
