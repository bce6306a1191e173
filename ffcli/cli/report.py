"""`ff report`: the paper's tables, with what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ffcli.choices import DataKind, Metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ffcli.report.cure_costs import Cost
    from ffcli.report.cures import CureTable
    from ffcli.report.tables import Table

Number = Literal["1", "2", "all", "cures"]
Format = Literal["rich", "markdown", "csv", "json", "latex"]


def report(
    table: Annotated[
        Number, typer.Option(help="1: balanced phases. 2: n awake hours to one asleep. cures: plain and cured runs.")
    ] = "all",
    metric: Annotated[
        Metric, typer.Option(help="Accuracy at the last epoch, the best, or the last five's mean.")
    ] = "final",
    epochs: Annotated[int | None, typer.Option(min=1, help="Read every run after this many epochs.")] = None,
    no_published: Annotated[bool, typer.Option("--no-published", help="Leave out the paper's figures.")] = False,
    format: Annotated[Format, typer.Option(help="How to print the tables.")] = "rich",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    preset: Annotated[str | None, typer.Option(help="Only runs of this preset, or 'custom'.")] = None,
    data: Annotated[DataKind | None, typer.Option(help="Only runs on full data, or on the sample.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only runs with this tag.")] = None,
    db: Annotated[str | None, typer.Option(envvar="FFCLI_DB", help="The database: a path or an SQLite URL.")] = None,
) -> None:
    """Draw the paper's two tables from what was measured, one pair for each protocol; or the table of cures."""
    from functools import partial

    from ffcli.cli.filters import stored_preset
    from ffcli.report.families import set_aside
    from ffcli.report.protocol import default_protocol, select
    from ffcli.report.tables import draw
    from ffcli.store.database import open_to_read
    from ffcli.store.outcomes import outcomes, summaries

    preset = stored_preset(preset)
    format = "json" if as_json else format
    if table == "cures":
        from ffcli.cli.cures import read_cures

        cures = read_cures(
            db, preset=preset, data=data, tag=tag, metric=metric, epochs=epochs, published=not no_published
        )
        _print_cures(cures, format)
        return
    with open_to_read(db) as store:
        runs, aside = set_aside(select(summaries(store), preset=preset, data=data, tag=tag))
        tables = draw(
            runs,
            partial(outcomes, store, runs=runs),
            default=default_protocol(preset, data),
            metric=metric,
            epochs=epochs,
            numbers=(1, 2) if table == "all" else (int(table),),
            published=not no_published,
        )
    _print(tables, format)
    if aside:
        _point_to_cures(len(aside))


def _print(tables: Sequence[Table], format: Format) -> None:
    from ffcli.cli.console import out, print_json
    from ffcli.report import formats, render

    if format == "rich":
        render.show(tables, out())
    elif format == "json":
        print_json([formats.as_json(table) for table in tables])
    else:
        write = {"markdown": formats.as_markdown, "csv": formats.as_csv, "latex": formats.as_latex}[format]
        typer.echo(write(tables), nl=False)


def _print_cures(tables: Sequence[tuple[CureTable, Sequence[Cost]]], format: Format) -> None:
    from ffcli.cli.console import out, print_json
    from ffcli.report import cure_formats, cure_render

    if format == "rich":
        cure_render.show(tables, out())
    elif format == "json":
        print_json([cure_formats.as_json(*table) for table in tables])
    else:
        write = {
            "markdown": cure_formats.as_markdown, "csv": cure_formats.as_csv, "latex": cure_formats.as_latex,
        }[format]  # fmt: skip
        typer.echo(write(tables), nl=False)


def _point_to_cures(aside: int) -> None:
    from ffcli.cli.console import message
    from ffcli.text import counted

    runs = counted(aside, "run")
    message(f"{runs} (cured, or plain at a cure's rate) not in these tables: `ff report --table cures` shows them")
