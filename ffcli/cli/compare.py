"""`ff compare`: two protocols, negatives, cures or tags over the same cells and seeds; or two single runs."""

from __future__ import annotations

from typing import Annotated

import typer

from ffcli.cli.options import DatabaseOption, JsonOption, complete_conditions, complete_runs
from ffcli.cli.report import MetricOption


def complete_sides(ctx: typer.Context, incomplete: str) -> list[str | tuple[str, str]]:
    """Conditions and runs."""
    return [*complete_conditions(ctx, incomplete), *complete_runs(ctx, incomplete)]


def compare(
    a: Annotated[
        str,
        typer.Argument(
            help="Side a: NAME=VALUE, or several separated by commas; or a run.",
            metavar="A",
            autocompletion=complete_sides,
        ),
    ],
    b: Annotated[str, typer.Argument(help="Side b, in the same form.", metavar="B", autocompletion=complete_sides)],
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Only such runs on both sides, as NAME=VALUE; may be repeated.",
            autocompletion=complete_conditions,
        ),
    ] = None,
    metric: MetricOption = "final",
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Read every run after this many epochs.", show_default="what most pairs reached"),
    ] = None,
    db: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """Compare two sides over the same cells and seeds, such as [bold]ff compare neg=label neg=masks[/].

    NAME is an option of `ff train`, or tag: tag=baseline tag=cured, preset=fast,threshold=1.5 preset=paper,threshold=2

    Runs are paired that agree in every setting that neither side names; with tags, in data, negatives, phases and seed.

    The interval is a bootstrap over the pairs; one side is better if it excludes 0.

    Two runs, each given by its id, name or last, are compared in their settings and accuracies.
    """
    from functools import partial

    from ffcli.cli.console import naming_unreadable_runs, print_document
    from ffcli.errors import BadOption
    from ffcli.report import comparison
    from ffcli.report.selectors import parse_selector
    from ffcli.store.database import open_to_read
    from ffcli.store.outcomes import outcomes, summaries

    if "=" not in a and "=" not in b:
        if only or metric != "final":
            raise BadOption("two runs are compared in all respects: leave out --only and --metric")
        compare_runs(a, b, epochs=epochs, db=db, json=json)
        return
    ours, theirs, *both = (parse_selector(text) for text in (a, b, *(only or ())))
    with naming_unreadable_runs() as skipped, open_to_read(db) as store:
        runs = summaries(store, skipped)
        comparisons, pairing = comparison.compare(
            runs, partial(outcomes, store, runs=runs), ours, theirs, only=both, metric=metric, epochs=epochs
        )
    document = comparison.comparison_document(comparisons, pairing, ours, theirs, both)
    print_document(document, "json" if json else "rich")


def compare_runs(a: str, b: str, *, epochs: int | None, db: str | None, json: bool) -> None:
    """Print the settings in which two runs differ, and their accuracies."""
    from ffcli.cli.console import print_document
    from ffcli.errors import BadOption
    from ffcli.report.two_runs import Side, document
    from ffcli.store import runs
    from ffcli.store.database import open_to_read

    with open_to_read(db) as store:
        found = [runs.get(store, ref) for ref in (a, b)]
        if found[0].id == found[1].id:
            raise BadOption(f"{a} and {b} are the same run: give two that differ")
        ids = runs.short_ids(store, [run.id for run in found])
        one, other = (Side(run, ids[run.id], runs.epochs(store, run.id)) for run in found)
    print_document(document(one, other, epochs), "json" if json else "rich")
