"""Choose the default preset by the rule of docs/reproduction.md, and write what it measures there.

    python tools/choose_preset.py commands
    python tools/choose_preset.py chosen results/fast.db
    python tools/choose_preset.py table results/fast.db docs/reproduction.md

`commands` prints the sweeps of all candidates, `chosen` the options of the candidate that the rule chooses, and `table`
writes the mean absolute difference to the paper of each candidate, by table, into the page.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from write_study import markdown, published, put

from ffcli.config import RunConfig
from ffcli.schedule import Schedule
from ffcli.store.database import open_to_read
from ffcli.store.runs import epochs, list_runs

TOOL = Path(__file__).name

CANDIDATES = {
    "fast@1": "--epochs 20 --updates-per-batch 1 --lr 0.05",
    "A": "--epochs 36 --updates-per-batch 1 --lr 0.05 --beta1 0.005154 --beta2 0.951206",
    "B": "--epochs 36 --updates-per-batch 1 --lr 0.02 --beta1 0.005154 --beta2 0.951206",
    "C": "--epochs 36 --updates-per-batch 1 --lr 0.1 --beta1 0.005154 --beta2 0.951206",
    "D": "--epochs 36 --updates-per-batch 1 --lr 0.02",
    "E": "--epochs 36 --updates-per-batch 1 --lr 0.05 --beta2 0.951206",
    "F": "--epochs 23 --updates-per-batch 2 --lr 0.025 --beta1 0.07179 --beta2 0.975298",
    "G": "--epochs 23 --updates-per-batch 2 --lr 0.05 --beta1 0.07179 --beta2 0.975298",
    "H": "--epochs 18 --updates-per-batch 3 --lr 0.016667 --beta1 0.172733 --beta2 0.983463",
}

CELLS = {
    ("mnist", "label", "4:4"): 1,
    ("mnist", "label", "16:16"): 1,
    ("mnist", "masks", "16:16"): 1,
    ("fashion", "label", "4:4"): 1,
    ("fashion", "masks", "16:16"): 1,
    ("mnist", "label", "2:1"): 2,
    ("mnist", "masks", "2:1"): 2,
    ("mnist", "masks", "4:1"): 2,
    ("mnist", "masks", "8:1"): 2,
    ("fashion", "masks", "4:1"): 2,
}
"""The cells of the choice, and the table each is of."""

SCREENING = [("mnist", "masks", "4:1"), ("mnist", "masks", "16:16"), ("mnist", "label", "2:1")]
GO_ON = 3
"""Candidates that screening lets pass, beside `fast@1`."""
LAST_EPOCHS = 5
BETTER_BY = 1.0
"""Points on each table by which a candidate has to be closer to the paper than `fast@1`."""

Place = tuple[str, str, str]
Accuracies = Mapping[str, Mapping[Place, float]]
"""Accuracy in percent on the held-out images, by candidate and cell."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("commands")
    for name in ("chosen", "table"):
        commands.add_parser(name).add_argument("database", type=Path)
    commands.choices["table"].add_argument("page", type=Path)
    given = parser.parse_args()
    match given.command:
        case "commands":
            print("\n".join(sweeps()))
        case "chosen":
            print(CANDIDATES[chosen(read_accuracies(given.database))])
        case "table":
            put(table(read_accuracies(given.database)), given.page, TOOL)


def sweeps() -> list[str]:
    """Return the arguments of `ff sweep` that train the cells of each candidate."""
    grids = (
        "--dataset mnist,fashion --neg label --pos-phase 4 --balanced",
        "--dataset mnist --neg label --pos-phase 16 --balanced",
        "--dataset mnist,fashion --neg masks --pos-phase 16 --balanced",
        "--dataset mnist --neg label --pos-phase 2",
        "--dataset mnist --neg masks --pos-phase 2,4,8",
        "--dataset fashion --neg masks --pos-phase 4",
    )
    return [
        f"{grid} {options} --holdout 5000 --precision bf16 --tag fast-{name}"
        for name, options in CANDIDATES.items()
        for grid in grids
    ]


def read_accuracies(database: Path) -> Accuracies:
    """Return the mean accuracy on the held-out images after the last epochs of each run."""
    found: dict[str, dict[Place, float]] = {name: {} for name in CANDIDATES}
    with open_to_read(database) as store:
        for run in list_runs(store):
            last = [e.validation_accuracy for e in epochs(store, run.id)][-LAST_EPOCHS:]
            for tag in run.tags:
                if (name := tag.removeprefix("fast-")) in found and run.epochs_done >= run.config.epochs:
                    found[name][_place(run.config)] = fmean(value for value in last if value is not None)
    return found


def chosen(measured: Accuracies) -> str:
    """Return the name of the candidate that the rule chooses."""
    best = min(finalists(measured), key=lambda name: difference(measured[name], list(CELLS)))
    better = (by_table(measured["fast@1"], number) - by_table(measured[best], number) for number in (1, 2))
    return best if all(points >= BETTER_BY for points in better) else "fast@1"


def finalists(measured: Accuracies) -> list[str]:
    """Return `fast@1` and the candidates that come closest to the paper on the cells of the screening."""
    others = [name for name in CANDIDATES if name != "fast@1"]
    return ["fast@1", *sorted(others, key=lambda name: difference(measured[name], SCREENING))[:GO_ON]]


def by_table(measured: Mapping[Place, float], number: int) -> float:
    return difference(measured, [place for place, table in CELLS.items() if table == number])


def difference(measured: Mapping[Place, float], places: list[Place]) -> float:
    """Return the mean absolute difference to the paper on some cells, in points."""
    return fmean(abs(measured[place] - paper_accuracy(place)) for place in places)


def paper_accuracy(place: Place) -> float:
    dataset, negatives, schedule = place
    positive, negative = map(int, schedule.split(":"))
    found = published(dataset, negatives, Schedule(positive=positive, negative=negative))
    assert found is not None, f"the paper has no cell {place}"
    return found


def table(measured: Accuracies) -> str:
    """Return all candidates with their differences and accuracies in Markdown; finalists have all ten cells."""
    header = ["candidate", "screening", "table 1", "table 2", "ten cells", *(" ".join(place) for place in CELLS)]
    paper = ["paper", "", "", "", "", *(f"{paper_accuracy(place):g}" for place in CELLS)]
    rows = [
        [name, *map(_points, _differences(found)), *(_points(found.get(place)) for place in CELLS)]
        for name, found in measured.items()
    ]
    return markdown([header, ["---", *["---:"] * (len(header) - 1)], paper, *rows])


def _differences(found: Mapping[Place, float]) -> list[float | None]:
    screening = difference(found, SCREENING)
    if not found.keys() >= CELLS.keys():
        return [screening, None, None, None]
    return [screening, by_table(found, 1), by_table(found, 2), difference(found, list(CELLS))]


def _points(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _place(config: RunConfig) -> Place:
    return config.data.name, config.negatives, str(config.schedule)


if __name__ == "__main__":
    main()
