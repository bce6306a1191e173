"""`ff show`: everything that is stored about one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ffcli.cli.options import DatabaseOption, JsonOption, RunArgument

if TYPE_CHECKING:
    from ffcli.records import EpochMetrics, RunRecord
    from ffcli.report.sheet import Item, Sheet

DEAD = 0.99
"""Share of dead units from which on a layer counts as dead."""


def show(
    run: RunArgument,
    toml: Annotated[
        bool, typer.Option("--toml", help="Print the options of the run as a file for `ff train --config`.")
    ] = False,
    db: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """Show a run: settings, where it was trained, every epoch, and when a layer died."""
    from dataclasses import asdict

    from ffcli.cli.console import out, print_document, print_json
    from ffcli.errors import BadOption
    from ffcli.planning import to_toml
    from ffcli.records import ID_DIGITS, epoch_json, run_json
    from ffcli.report.sheet import Document
    from ffcli.store import runs, traces
    from ffcli.store.database import open_to_read
    from ffcli.text import named

    if toml and json:
        raise BadOption("--toml and --json contradict each other: leave out one of them")
    with open_to_read(db) as store:
        found = runs.get(store, run)
        epochs = runs.epochs(store, found.id)
        trace = traces.trace_of(store, found.id)
    if toml:
        typer.echo(to_toml(found.config), nl=False)
    elif json:
        print_json(
            run_json(found) | {"epochs": [epoch_json(e) for e in epochs], "trace": [asdict(hour) for hour in trace]}
        )
    else:
        console = out()
        for line in summary(found):
            console.print(line)
        if epochs:
            print_document(Document((epoch_sheet(epochs),)))
        for line in deaths(epochs):
            console.print(line)
        if trace:
            phases = named("phase", {hour.phase for hour in trace})
            console.print(f"trace of {phases}: `ff plot trace {found.id[:ID_DIGITS]}`")


def summary(run: RunRecord) -> list[str]:
    """Return lines with rich markup: what was trained, how it ended, and where."""
    from ffcli.cli.words import describe, duration, published_line, safe, status_text
    from ffcli.text import counted, local_time

    config = run.config
    lines = [
        f"[bold]{safe(describe(config))}[/]   {status_text(run.status)}",
        f"run {run.id}" + (f", {safe(run.name)}" if run.name else "") + "".join(f" #{safe(t)}" for t in run.tags),
        f"key {config.key}",
        *([f"data {safe(config.data.path)}, fingerprint {config.data.fingerprint[:12]}"] if config.data.path else []),
        f"hidden {','.join(map(str, config.hidden))}; {counted(config.updates_per_batch, 'update')} per batch"
        f" of {config.batch_size};"
        f" learning rate {config.lr_positive:g} (positive phase), {config.lr_negative:g} (negative);"
        f" threshold {config.threshold:g}; {config.precision}",
        f"started {local_time(run.started)}, {duration(run.seconds)} of training,"
        f" {run.epochs_done} of {counted(config.epochs, 'epoch')}",
    ]
    if run.failure:
        lines.append(f"[yellow]{safe(run.failure)}[/]")
    if run.note:
        lines.append(safe(run.note))
    for stretch in run.provenance:
        lines.append(
            f"[dim]from epoch {stretch.from_epoch}: ffcli {stretch.ffcli}"
            + (f" ({stretch.revision})" if stretch.revision else "")
            + f", torch {stretch.torch}, {safe(stretch.device)}, {counted(stretch.threads, 'thread')},"
            + f" on {safe(stretch.host)}[/]"
        )
    if line := published_line(config, run.final_accuracy):
        lines.append(line)
    return lines


def epoch_sheet(epochs: list[EpochMetrics]) -> Sheet:
    """Return one line per epoch: accuracy and loss, then goodness (true | wrong label) and dead units by layer.

    A narrow terminal leaves out goodness, then losses, then dead units, and cuts no number.
    """
    from ffcli.report.sheet import make_list

    layers = range(1, 1 + max((len(e.dead_units or ()) for e in epochs), default=0))
    validated = any(e.validation_accuracy is not None for e in epochs)
    goodness, dead = ([f"{what} {n}" for n in layers] for what in ("goodness", "dead"))
    first = ["epoch", "hour", "phase", "test %", *(["held out %"] if validated else [])]
    losses = ["loss positive", "negative"]
    layouts = [
        [*first, *losses, *goodness, *dead],
        [*first, *losses, *dead],
        [*first, *dead],
        first,
        ["epoch", "test %"],
    ]
    return make_list(layouts, {"": map(_epoch_line, epochs)}, right={*layouts[0]} - {"phase"})


def _epoch_line(e: EpochMetrics) -> dict[str, str | Item]:
    from ffcli.cli.words import PHASE_WORDS
    from ffcli.report.sheet import Item

    line: dict[str, str | Item] = {
        "epoch": str(e.epoch),
        "hour": str(e.hour),
        "phase": PHASE_WORDS[e.phase],
        "test %": _number(e.accuracy, 2),
        "held out %": _number(e.validation_accuracy, 2),
        "loss positive": _number(e.loss_positive, 3),
        "negative": _number(e.loss_negative, 3),
    }
    for n, (true, wrong) in enumerate(zip(e.goodness_positive or (), e.goodness_negative or (), strict=True), start=1):
        line[f"goodness {n}"] = f"{true:.2f}|{wrong:.2f}"
    for n, share in enumerate(e.dead_units or (), start=1):
        line[f"dead {n}"] = Item(f"{share:.0%}", "bad" if share >= DEAD else "")
    return line


def deaths(epochs: list[EpochMetrics]) -> list[str]:
    """Return one line with rich markup for each layer that died: when, and its dead units at the end."""
    lines = []
    measured = [e for e in epochs if e.epoch > 0 and e.dead_units]
    for layer in range(max((len(e.dead_units or ()) for e in measured), default=0)):
        shares = [(e, (e.dead_units or ())[layer]) for e in measured]
        died = next(((e, share) for e, share in shares if share >= DEAD), None)
        if died is None:
            continue
        epoch, share = died
        last = shares[-1][1]
        after = "" if last >= DEAD else f"; at the end {last:.0%} are dead"
        when = f"in epoch {epoch.epoch} (hour {epoch.hour}, {_phase(epoch)})"
        lines.append(f"[red]layer {layer + 1} died {when}[/]: {share:.0%} of its units are dead{after}")
    return lines


def _phase(epoch: EpochMetrics) -> str:
    from ffcli.cli.words import PHASE_WORDS

    return PHASE_WORDS[epoch.phase]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
