"""The Python API: train, look up and use runs. `ffcli` exports these functions; docs/python.md explains them.

Everything is stored in the same database as by `ff`, and answered from it. Environment variables (`FFCLI_DB`,
`FFCLI_DATA_DIR`, `FFCLI_DATA`, ...) have the same meaning; arguments override them. Errors are those of `ffcli.errors`,
with the messages of the command line.
"""

from __future__ import annotations

import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, overload

from ffcli import filters, notebook
from ffcli import settings as definitions
from ffcli.choices import DataChoice
from ffcli.config import RunConfig
from ffcli.data.datasets import data_folder
from ffcli.errors import BadOption, Interrupted, MissingPackage
from ffcli.planning import plan_training
from ffcli.records import ID_DIGITS, EpochMetrics, RunRecord, best_accuracy, epoch_json, run_json
from ffcli.report.titles import describe
from ffcli.running import run as running
from ffcli.store import export
from ffcli.store import runs as stored
from ffcli.store.database import open_store, open_to_read
from ffcli.text import counted

if TYPE_CHECKING:
    import numpy as np
    import pandas
    from numpy.typing import NDArray

    from ffcli.engine.classifier import Classifier
    from ffcli.engine.training import TrainingState
    from ffcli.inference.evaluation import Evaluation
    from ffcli.inference.trained import Prediction, Trained

log = logging.getLogger("ffcli")
"""Notices, such as that a sample replaces a dataset, are its warnings."""

Progress = bool | Callable[[EpochMetrics], None]


def train(
    *,
    db: str | Path | None = None,
    data_dir: str | Path | None = None,
    force: bool = False,
    progress: Progress = False,
    **settings: Any,
) -> Run:
    """Train a run, or return the stored one at once.

    Args:
        db: the database; None for the default of the command line.
        data_dir: folder of datasets; None for the default of the command line.
        force: train again; the earlier run is kept as superseded.
        progress: True prints a line on stderr after each epoch; a function is called with the metrics of each epoch.
        **settings: the settings below; each is an option of `ff train` with underscores instead of hyphens.

    Returns:
        The run, read at the epochs that were asked for.

    Raises:
        BadOption: if a setting is unknown, or its value is wrong.
        Diverged: if a number becomes infinite or NaN.
        KeyboardInterrupt: on Ctrl-C; the run is saved, and the same call continues it.
        FFError: for everything else that `ffcli.errors` names.
    """
    given = _environment() | {name: value for name, value in settings.items() if value is not None}
    plan = plan_training(given, config_file=None, force=force, data_folder=_folder(data_dir), notify=log.warning)
    with open_store(_database(db), timeout=running.LOCK_TIMEOUT) as store:
        try:
            result = running.run(plan.config, plan.request, store, plan.data_folder, _Watcher(progress))
        except Interrupted as error:
            raise KeyboardInterrupt(str(error)) from error
        return Run(result.run, tuple(result.epochs), result.cached, store.path, plan.data_folder)


def load(run: str, *, db: str | Path | None = None, data_dir: str | Path | None = None) -> Run:
    """Return a stored run.

    Args:
        run: the first digits of its id, its name, or `last`.
        db: the database; None for the default of the command line.
        data_dir: folder of datasets, for predictions; None for the default of the command line.

    Raises:
        NoSuchRun: if there is no such run, or more than one.
    """
    with open_to_read(_database(db)) as store:
        record = stored.get(store, run)
        epochs = stored.epochs(store, record.id)
        return Run(record, tuple(epochs), True, store.path, data_folder(_folder(data_dir), create=True))


def runs(
    *,
    dataset: str | None = None,
    neg: str | None = None,
    status: str | None = None,
    pos_phase: int | None = None,
    preset: str | None = None,
    cure: str | None = None,
    tag: str | None = None,
    since: str | datetime | None = None,
    sort: str = "started",
    limit: int | None = None,
    superseded: bool = False,
    db: str | Path | None = None,
) -> Runs:
    """Return the records of stored runs, newest first. A filter that is None admits every run.

    Args:
        dataset: only this dataset.
        neg: only these negatives.
        status: only this status: completed, interrupted, failed, running, stale or superseded.
        pos_phase: only this length of the positive phase in hours; 0 for unseparated runs.
        preset: only this preset; `custom` for none.
        cure: only this cure, or `none`.
        tag: only runs with this tag.
        since: only runs that started since.
        sort: started, oldest, best, final, epochs, seconds or dataset.
        limit: at most so many runs.
        superseded: include superseded runs.
        db: the database; None for the default of the command line.

    Raises:
        BadOption: if a filter can admit no run, such as an unknown dataset.
    """
    if limit is not None and limit < 0:
        raise BadOption(f"limit should be at least 0, not {limit}")
    wanted = stored.Filters(
        dataset=dataset, negatives=filters.known_negatives(neg), status=status, pos_phase=pos_phase,
        preset=filters.known_preset(preset), cure=filters.named_cure(cure), tag=tag,
        since=filters.moment(since) if isinstance(since, str) else since.astimezone() if since else None,
        include_superseded=superseded or status == "superseded", sort=sort, limit=limit,
    )  # fmt: skip
    with open_to_read(_database(db)) as store:
        filters.check_dataset(store, dataset)
        return Runs(stored.list_runs(store, wanted))


def epochs(run: str | Run | None = None, *, db: str | Path | None = None, **selected: Any) -> Epochs:
    """Return the epochs of stored runs.

    Args:
        run: one run, as in `load`; None for all runs that the filters admit.
        db: the database; None for the default of the command line.
        **selected: the filters of `runs`.

    Raises:
        NoSuchRun: if there is no such run, or more than one.
        BadOption: if a filter can admit no run.
    """
    if run is not None and selected:
        raise BadOption("epochs() takes a run or filters, not both")
    if isinstance(run, Run):
        return Epochs([EpochRow(run.record, epoch) for epoch in run.epochs])
    records = list(runs(db=db, **selected)) if run is None else []
    with open_to_read(_database(db)) as store:
        if run is not None:
            records = [stored.get(store, run)]
        return Epochs(
            [EpochRow(record, epoch) for record, found in export.runs_with_epochs(store, records) for epoch in found]
        )


@dataclass(frozen=True, repr=False, eq=False)
class Run:
    """A stored run with its epochs. Its network is loaded when it is first used."""

    record: RunRecord
    """Everything that is stored about the run but its epochs."""
    epochs: tuple[EpochMetrics, ...]
    """Up to the epochs that were asked for; the first is the untrained network."""
    cached: bool
    """Whether it was stored already."""
    database: Path
    data_folder: Path

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def config(self) -> RunConfig:
        return self.record.config

    @property
    def final_accuracy(self) -> float | None:
        """Test accuracy in percent at the last of `epochs`."""
        return self.epochs[-1].accuracy if self.epochs else None

    @property
    def best_accuracy(self) -> float | None:
        """Test accuracy in percent of the best epoch: see `records.best_accuracy`."""
        return best_accuracy(list(self.epochs))

    @property
    def network(self) -> Classifier:
        """The trained network as a torch module: images (N, C, H, W) uint8 -> labels (N,), goodness (N, layers, K).

        Its weights are those of the stored run's last epoch, also if `epochs` are fewer.

        Raises:
            BadInput: if no weights are saved.
            DamagedState: if their file is damaged.
            BadData: if the dataset, whose normalisation the network needs, is missing.
        """
        return self._trained.network

    def predict(self, images: Any) -> NDArray[np.int64]:
        """Return the labels (N,) of images (N, H, W) or (N, H, W, C), uint8: an array, a CPU tensor or a list.

        Raises:
            BadData: if the images have another type or shape.
            BadInput, DamagedState: as `network` does.
        """
        return self._classified(images).labels

    def goodness(self, images: Any) -> NDArray[np.floating]:
        """Return the goodness of each layer under each label (N, layers, K). Arguments and errors as in `predict`."""
        return self._classified(images).goodness

    def evaluate(self, dataset: str | None = None, *, data: DataChoice = "auto") -> Evaluation:
        """Evaluate the network on test images: overall, by layer and by class, with a confusion matrix.

        Args:
            dataset: name of a dataset or path of an .npz file; None for the run's own data.
            data: the full dataset, or its sample; auto prefers full.

        Raises:
            BadData: if the dataset is missing or does not fit the network.
            BadInput, DamagedState: as `network` does.
        """
        from ffcli.inference.evaluation import evaluate

        return evaluate(self._trained, dataset=dataset, wanted=data, data_folder=self.data_folder, notify=log.warning)

    def save_weights(self, file: str | Path, *, force: bool = False) -> None:
        """Write the network as `.safetensors`, or as a `.pt2` program that torch.export loads without ffcli.

        Raises:
            BadOption: if the name has another suffix, or the file exists and `force` is not set.
            BadInput, DamagedState: as `network` does.
        """
        from ffcli.inference.weights import write_weights

        write_weights(self._trained, Path(file), force=force)

    def to_dict(self) -> dict[str, Any]:
        """Return the run and its epochs with the names of `ff show --json`."""
        return run_json(self.record) | {
            "epochs": [epoch_json(epoch) for epoch in self.epochs],
            "best_accuracy": self.best_accuracy,
            "final_accuracy": self.final_accuracy,
        }

    @cached_property
    def _trained(self) -> Trained:
        from ffcli.inference.trained import load_trained

        with open_to_read(self.database) as store:
            return load_trained(store, self.record, self.data_folder)

    def _classified(self, images: Any) -> Prediction:
        from ffcli.inference.images import checked
        from ffcli.inference.trained import classify

        return classify(self.network, checked(images, self._trained))

    def __repr__(self) -> str:
        return f"<Run {self.id[:ID_DIGITS]}: {describe(self.config)}, {_percent(self.final_accuracy)}>"

    def _repr_html_(self) -> str:
        values = [
            ("run", self.id[:ID_DIGITS]),
            ("name, tags", " ".join(filter(None, [self.record.name, *(f"#{tag}" for tag in self.record.tags)]))),
            ("status", self.record.status),
            ("final accuracy", _percent(self.final_accuracy)),
            ("best accuracy", _percent(self.best_accuracy)),
            ("epochs", self.epochs[-1].epoch if self.epochs else 0),
            ("note", self.record.note),
            ("failure", self.record.failure),
        ]
        return notebook.facts(describe(self.config), [value for value in values if value[1] not in (None, "")]) + (
            notebook.curve(self.epochs)
        )


class Runs(Sequence[RunRecord]):
    """Records of runs."""

    def __init__(self, records: Iterable[RunRecord]) -> None:
        self._records = tuple(records)

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, place: int) -> RunRecord: ...
    @overload
    def __getitem__(self, place: slice) -> Self: ...
    def __getitem__(self, place: int | slice) -> RunRecord | Self:
        return type(self)(self._records[place]) if isinstance(place, slice) else self._records[place]

    def to_pandas(self) -> pandas.DataFrame:
        """Return a table with a row for each run and the columns of `ff export`.

        Raises:
            MissingPackage: if pandas is not installed.
        """
        measured = ("epochs_done", "best_accuracy", "final_accuracy", "seconds", "started", "ended", "failure")
        rows = [[*export.run_values(run), *(getattr(run, name) for name in measured)] for run in self]
        return _data_frame([*export.RUN_COLUMNS, *measured], rows)

    def __repr__(self) -> str:
        return f"<{counted(len(self), 'run')}>"

    def _repr_html_(self) -> str:
        heads = ("run", "data", "neg", "phases", "seed", "final %", "best %", "epochs", "status", "name")
        rows = (
            (
                run.id[:ID_DIGITS], run.config.data.label, run.config.negatives, run.config.schedule, run.config.seed,
                run.final_accuracy, run.best_accuracy, run.epochs_done, run.status, run.name,
            )
            for run in self
        )  # fmt: skip
        return notebook.table(heads, rows, counted(len(self), "run"))


class EpochRow(NamedTuple):
    """An epoch with the run that it belongs to."""

    run: RunRecord
    epoch: EpochMetrics


class Epochs(Sequence[EpochRow]):
    """Epochs of runs; each is a pair of the run's record and what was measured."""

    def __init__(self, rows: Iterable[EpochRow]) -> None:
        self._rows = tuple(rows)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> EpochRow: ...
    @overload
    def __getitem__(self, place: slice) -> Self: ...
    def __getitem__(self, place: int | slice) -> EpochRow | Self:
        return type(self)(self._rows[place]) if isinstance(place, slice) else self._rows[place]

    def to_pandas(self) -> pandas.DataFrame:
        """Return the table of `ff export`: a row for each epoch, which repeats the settings of its run.

        Raises:
            MissingPackage: if pandas is not installed.
        """
        layers = max((len(row.run.config.hidden) for row in self), default=0)
        rows = [[*export.run_values(row.run), *export.epoch_values(row.epoch, layers)] for row in self]
        return _data_frame([*export.RUN_COLUMNS, *export.epoch_columns(layers)], rows)

    def __repr__(self) -> str:
        return f"<{counted(len(self), 'epoch')} of {counted(len({row.run.id for row in self}), 'run')}>"

    def _repr_html_(self) -> str:
        heads = ("run", "epoch", "hour", "phase", "test %", "loss positive", "loss negative")
        rows = (
            (
                run.id[:ID_DIGITS], epoch.epoch, epoch.hour, epoch.phase, epoch.accuracy, epoch.loss_positive,
                epoch.loss_negative,
            )
            for run, epoch in self
        )  # fmt: skip
        return notebook.table(heads, rows, counted(len(self), "epoch"))


class _Watcher:
    """Shows the progress of a run as its caller asked for."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._epochs = 0

    def begins(self, config: RunConfig, run_id: str, state: TrainingState) -> None:
        self._epochs = config.epochs

    def epoch_ended(self, metrics: EpochMetrics) -> None:
        if callable(self._progress):
            self._progress(metrics)
        elif self._progress:
            print(f"epoch {metrics.epoch}/{self._epochs}: {_percent(metrics.accuracy)}", file=sys.stderr)

    def notice(self, text: str) -> None:
        log.warning(text)


def _environment() -> dict[str, str]:
    """The settings that environment variables set."""
    variables = ((name, definitions.setting(name).env) for name in definitions.names())
    return {name: value for name, variable in variables if variable and (value := os.environ.get(variable))}


def _database(db: str | Path | None) -> str | Path | None:
    return db or os.environ.get("FFCLI_DB") or None


def _folder(data_dir: str | Path | None) -> Path | None:
    folder = data_dir or os.environ.get("FFCLI_DATA_DIR")
    return Path(folder) if folder else None


def _data_frame(columns: list[str], rows: list[list[Any]]) -> pandas.DataFrame:
    try:
        import pandas
    except ImportError as error:
        raise MissingPackage('to_pandas() needs pandas, which is not installed: pip install "ffcli[pandas]"') from error
    return pandas.DataFrame(rows, columns=columns)


def _percent(accuracy: float | None) -> str:
    return "-" if accuracy is None else f"{accuracy:.2f} %"


def _with_settings(function: Callable[..., Run]) -> None:
    """Show the settings in the signature and the docstring of `train`: they have one definition, in `settings`."""
    signature = inspect.signature(function)
    fields = definitions.Settings.model_fields
    keywords = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=fields[name].default)
        for name in definitions.names()
    ]
    own = [each for each in signature.parameters.values() if each.kind is inspect.Parameter.KEYWORD_ONLY]
    function.__signature__ = signature.replace(parameters=[*keywords, *own])  # type: ignore[attr-defined]
    lines = (f"        {name}: {definitions.setting(name).help}" for name in definitions.names())
    function.__doc__ = f"{function.__doc__}\n    Settings:\n" + "\n".join(lines) + "\n    "


_with_settings(train)
