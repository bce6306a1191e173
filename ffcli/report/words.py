"""How every format words a cell and a table."""

from __future__ import annotations

from collections.abc import Sequence

from ffcli.choices import Metric
from ffcli.records import LAST_EPOCHS
from ffcli.report.agreement import agreement
from ffcli.report.cells import Cell
from ffcli.report.tables import Table
from ffcli.text import counted

TITLES = {1: "n hours awake, n hours asleep", 2: "n hours awake, 1 hour asleep"}
DATA = {"full": "full data", "sample": "the sample that ships with ffcli, not the full data"}

NOT_RUN = "·"
NOT_LEARNED = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"


def value(cell: Cell) -> str:
    """`87.3`; a dash where no run left chance; `7/20 ep` of a run that is still short; `·` where there is none."""
    if cell.measured.mean is None:
        return cell.measured.short or NOT_RUN
    return f"{cell.measured.mean:.1f}" if cell.measured.learned else NOT_LEARNED


def spread(cell: Cell) -> str:
    """`±0.4` and how many runs, of more than one."""
    return "" if cell.measured.std is None else f"±{cell.measured.std:.1f} {TIMES}{cell.measured.runs}"


def published(cell: Cell) -> str:
    """The figure as the paper printed it, its "-" too."""
    if cell.published is None:
        return NOT_LEARNED if cell.published_learned is False else ""
    return f"{cell.published:g}"


def difference(cell: Cell) -> str:
    """`-1.7`, signed."""
    return "" if cell.difference is None else f"{cell.difference:+z.1f}"


def title(table: Table) -> str:
    return f"Table {table.number}: {TITLES[table.number]}"


def caption(table: Table) -> str:
    """Protocol, data, metric, horizon, seeds and device in one line."""
    protocol = table.protocol
    metric = metric_words(table.metric, table.epochs, held_out=protocol.holdout > 0)
    return " · ".join(
        filter(None, (protocol.label, DATA[protocol.data], metric, seeds_words(table.seeds), protocol.device))
    )


def metric_words(metric: Metric, horizon: int, *, shortest: int | None = None, held_out: bool) -> str:
    """What the numbers are. With `shortest` the horizons of the cells are from there on."""
    epochs = counted(horizon, "epoch")
    if shortest not in (None, horizon):
        epochs = f"{shortest} to {epochs}"
    if metric == "final":
        return f"final test accuracy in % after {epochs}"
    if metric == "last5":
        return f"mean test accuracy in % of the last {LAST_EPOCHS} evaluations within {epochs}"
    if held_out:
        return f"test accuracy in % at the best epoch by held-out images within {epochs}"
    return f"best accuracy in % on the test set itself within {epochs}"


def seeds_words(seeds: Sequence[int]) -> str:
    """`seed 0`, `seeds 0-2`, `seeds 0, 2, 5`; empty without any."""
    if len(seeds) < 2:
        return f"seed {seeds[0]}" if seeds else ""
    if seeds[-1] - seeds[0] == len(seeds) - 1:
        return f"seeds {seeds[0]}-{seeds[-1]}"
    return f"seeds {', '.join(map(str, seeds))}" if len(seeds) <= 6 else counted(len(seeds), "seed")


def also_measured(table: Table) -> str:
    """One line about schedules that neither table has; empty without any."""
    rows = (f"{row.dataset} {row.negatives} {', '.join(map(_odd, row.cells))}" for row in table.others)
    return "; ".join(rows)


def _odd(cell: Cell) -> str:
    return " ".join(filter(None, (str(cell.schedule), value(cell), spread(cell))))


def agreement_sentences(table: Table) -> list[str]:
    """How far the table agrees with the paper, without full stops; empty where `agreement` is None."""
    agreed = agreement(table)
    if agreed is None:
        return []
    count = counted(agreed.compared, "cell")
    if agreed.left_out:
        count += f" ({agreed.left_out} more measured, for which the paper has no number)"
    sentences = [
        f"Agreement with the paper: mean absolute difference {agreed.mean_absolute_difference:.1f} over {count}"
    ]
    if agreed.spread_known:
        sentences.append(
            f"Within the seeds' spread: {agreed.within_spread} of the {agreed.spread_known} cells with two seeds or"
            " more (|mean - published| at most the seeds' sample standard deviation)"
        )
    rows = [
        f"{row.dataset} {row.negatives} {row.rho:+.2f} ({counted(row.cells, 'cell')})"
        for row in agreed.rank_correlation
        if row.rho is not None
    ]
    if rows:
        sentences.append(f"Rank correlation (Spearman) of the phases: {', '.join(rows)}")
    return sentences
