"""`ff report`: the paper's tables with what was measured, and the table of cures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ffcli.choices import DataKind, Metric
from ffcli.cli.options import (
    DatabaseOption,
    DatasetFilter,
    NegativesFilter,
    PresetFilter,
    TagFilter,
    complete_setting,
)
from ffcli.report.writers import Format

if TYPE_CHECKING:
    from ffcli.records import EpochMetrics, RunRecord, RunSummary
    from ffcli.store.database import Store

MetricOption = Annotated[
    Metric, typer.Option(help="Accuracy at the last epoch, the best one, or the mean of the last five.")
]
HorizonOption = Annotated[int | None, typer.Option(min=1, help="Read every run after this many epochs.")]
NoPublishedOption = Annotated[bool, typer.Option("--no-published", help="Leave out the paper's figures.")]
ProtocolFilter = Annotated[
    str | None, typer.Option(help="Only protocols with this name, as printed above a table, or with part of it.")
]
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
    dataset: DatasetFilter = None,
    neg: NegativesFilter = None,
    cure: Annotated[
        str | None,
        typer.Option(help="Only this cure beside plain runs, or none.", autocompletion=complete_setting("cure")),
    ] = None,
    protocol: ProtocolFilter = None,
    preset: PresetFilter = None,
    data: DataFilter = None,
    tag: TagFilter = None,
    all: Annotated[bool, typer.Option("--all", help="Include rows and columns in which nothing was run.")] = False,
    db: DatabaseOption = None,
) -> None:
    """Print the paper's two tables with what was measured, for each protocol; or the table of cures.

    --cure NAME prints the table of cures.
    """
    from functools import partial

    from ffcli.cli.console import message, naming_unreadable_runs, print_document
    from ffcli.errors import BadOption
    from ffcli.filters import check_dataset, known_negatives, known_preset, named_cure
    from ffcli.report import cures, tables
    from ffcli.report.protocol import default_protocol, with_label
    from ffcli.report.selectors import NoMatch, matching
    from ffcli.report.sheet import Document
    from ffcli.store.database import open_to_read
    from ffcli.store.outcomes import evaluated_epochs, outcomes, summaries
    from ffcli.text import counted

    if as_json and format not in ("rich", "json"):
        raise BadOption(f"--json and --format {format} contradict each other: leave out one of them")
    if html and (as_json or format != "rich"):
        raise BadOption(
            f"--html and {'--json' if as_json else '--format'} contradict each other: leave out one of them"
        )
    if html and protocol:
        raise BadOption("--html shows every protocol: leave out --protocol, or choose runs with --tag")
    wanted = {
        "dataset": dataset, "neg": known_negatives(neg), "data": data, "tag": tag, "cure": named_cure(cure),
        "preset": known_preset(preset),
    }  # fmt: skip
    of_cures = table == "cures" or (table == "all" and wanted["cure"] not in (None, "none"))
    if of_cures:
        del wanted["preset"]  # a preset's table of cures also has runs at other rates
    form = "json" if as_json else format
    aside: list[RunSummary] = []
    with naming_unreadable_runs() as skipped, open_to_read(db) as store:
        check_dataset(store, dataset)
        stored = summaries(store, skipped)
        try:
            runs = matching(stored, wanted, with_plain=of_cures) if stored else []
        except NoMatch as nothing:
            if tag is not None and not any(tag in run.tags for run in stored):
                raise
            message(str(nothing))
            print_document(Document((), data=[], fields=cures.FIELDS if of_cures else tables.FIELDS), form)
            return
        if html:
            from ffcli.cli.page import write_page

            write_page(
                store, runs, html, table=table, preset=preset, metric=metric, epochs=epochs,
                with_published=not no_published, skipped=skipped,
            )  # fmt: skip
            return
        read = partial(outcomes, store, runs=runs)
        if of_cures:
            drawn = cures.draw_cures(
                runs, read, preset=preset, metric=metric, epochs=epochs, with_published=not no_published
            )
            drawn = with_label(drawn, protocol, lambda table: table.family.label)
            document = cures.cures_document(
                [(table, cures.cure_costs(table, partial(timed_run, store))) for table in drawn]
            )
        else:
            runs, aside = cures.set_aside(runs)
            paper = tables.draw_tables(
                runs,
                read,
                default=default_protocol(preset, data),
                metric=metric,
                epochs=epochs,
                numbers=(1, 2) if table == "all" else (int(table),),
                with_published=not no_published,
                evaluated=partial(evaluated_epochs, store),
                dataset=dataset,
                negatives=wanted["neg"],
            )
            paper = with_label(paper, protocol, lambda table: table.protocol.label)
            document = tables.tables_document(tables.measured_only(paper) if stored and not all else paper)
    print_document(document, form)
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
