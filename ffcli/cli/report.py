"""`ff report`: the paper's tables with what was measured, and the table of cures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ffcli.choices import DataKind, Metric
from ffcli.cli.options import DatabaseOption, PresetFilter, TagFilter
from ffcli.report.writers import Format

if TYPE_CHECKING:
    from ffcli.records import EpochMetrics, RunRecord, RunSummary
    from ffcli.store.database import Store

MetricOption = Annotated[
    Metric, typer.Option(help="Accuracy at the last epoch, the best one, or the mean of the last five.")
]
HorizonOption = Annotated[int | None, typer.Option(min=1, help="Read every run after this many epochs.")]
NoPublishedOption = Annotated[bool, typer.Option("--no-published", help="Leave out the paper's figures.")]
DataFilter = Annotated[DataKind | None, typer.Option(help="Only runs on full data, or on the sample.")]


def report(
    table: Annotated[
        Literal["1", "2", "all", "cures"],
        typer.Option(
            help="1: balanced phases. 2: n positive hours to one negative. all: both. cures: plain and cured runs."
        ),
    ] = "all",
    metric: MetricOption = "final",
    epochs: HorizonOption = None,
    no_published: NoPublishedOption = False,
    format: Annotated[Format, typer.Option(help="Output format.")] = "rich",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    html: Annotated[
        Path | None,
        typer.Option(help="Write tables, figures and runs to this file as one web page.", show_default=False),
    ] = None,
    preset: PresetFilter = None,
    data: DataFilter = None,
    tag: TagFilter = None,
    db: DatabaseOption = None,
) -> None:
    """Print the paper's two tables with what was measured, for each protocol; or the table of cures."""
    from functools import partial

    from ffcli.cli.console import message, naming_unreadable_runs, print_document
    from ffcli.errors import BadOption
    from ffcli.filters import known_preset
    from ffcli.report.cures import cure_costs, cures_document, draw_cures, set_aside
    from ffcli.report.protocol import default_protocol, select
    from ffcli.report.tables import draw_tables, tables_document
    from ffcli.store.database import open_to_read
    from ffcli.store.outcomes import outcomes, summaries
    from ffcli.text import counted

    if as_json and format not in ("rich", "json"):
        raise BadOption(f"--json and --format {format} contradict each other: leave out one of them")
    if html and (as_json or format != "rich"):
        raise BadOption(
            f"--html and {'--json' if as_json else '--format'} contradict each other: leave out one of them"
        )
    known_preset(preset)
    aside: list[RunSummary] = []
    with naming_unreadable_runs() as skipped, open_to_read(db) as store:
        runs = select(summaries(store, skipped), data=data, tag=tag)
        if html:
            from ffcli.cli.page import write_page

            write_page(
                store, runs, html, table=table, preset=preset, metric=metric, epochs=epochs,
                with_published=not no_published, skipped=skipped,
            )  # fmt: skip
            return
        if table == "cures":
            cures = draw_cures(
                runs,
                partial(outcomes, store, runs=runs),
                preset=preset,
                metric=metric,
                epochs=epochs,
                with_published=not no_published,
            )
            document = cures_document([(found, cure_costs(found, partial(timed_run, store))) for found in cures])
        else:
            runs, aside = set_aside(select(runs, preset=preset))
            tables = draw_tables(
                runs,
                partial(outcomes, store, runs=runs),
                default=default_protocol(preset, data),
                metric=metric,
                epochs=epochs,
                numbers=(1, 2) if table == "all" else (int(table),),
                with_published=not no_published,
            )
            document = tables_document(tables)
    print_document(document, "json" if as_json else format)
    if aside:
        runs_aside = counted(len(aside), "run")
        message(
            f"{runs_aside} (cured, or plain at a cure's rate) not in these tables: `ff report --table cures` shows them"
        )


def timed_run(store: Store, id: str) -> tuple[RunRecord, list[EpochMetrics]]:
    """Return a run, and its epochs except those with a traced hour, which take longer."""
    from ffcli.store import runs, traces

    traced = traces.traced(store, id).keys()
    before, untraced = 0, []
    for epoch in runs.epochs(store, id):
        if traced.isdisjoint(range(before + 1, epoch.hour + 1)):
            untraced.append(epoch)
        before = epoch.hour
    return runs.get(store, id), untraced
