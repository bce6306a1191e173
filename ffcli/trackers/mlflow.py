"""Write runs to MLflow's tracking store, into the experiment `ffcli`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from ffcli.errors import FFError, MissingPackage
from ffcli.records import EpochMetrics, RunRecord
from ffcli.trackers import RunWithEpochs, Written, metrics, moments, parameters, results, title

EXPERIMENT = "ffcli"
ID, EPOCHS = "ffcli.run_id", "ffcli.epochs_done"
"""Tags by which a run is found again."""

BATCH = 1000
"""Largest number of metrics in a request that MLflow accepts."""

STATUS = {"completed": "FINISHED", "failed": "FAILED", "running": "RUNNING"}
"""MLflow's status; that of the other runs is KILLED."""

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # MLflow 3 reports its use to its makers.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # The default tries a server that does not answer for minutes.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
"""Defaults of MLflow that ffcli replaces, unless the user has set them."""


def write(runs: Iterable[RunWithEpochs], place: str) -> Written:
    """Write runs to the tracking store at the URI `place`.

    Raises:
        MissingPackage: if MLflow is not installed.
        FFError: if MLflow cannot use the store.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise MissingPackage('--to mlflow needs mlflow, which is not installed: pip install "ffcli[mlflow]"') from error

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    written = kept = 0
    try:
        client = MlflowClient(tracking_uri=place)
        known = client.get_experiment_by_name(EXPERIMENT)
        experiment = known.experiment_id if known else client.create_experiment(EXPERIMENT)
        for run, epochs in runs:
            if _is_there(client, experiment, run):
                kept += 1
            else:
                _write_run(client, experiment, run, epochs)
                written += 1
    except (MlflowException, OSError, ImportError) as error:
        raise FFError(f"MLflow cannot use {place}: {' '.join(str(error).split())[:300]}") from error
    return Written(written, kept)


def _is_there(client: Any, experiment: str, run: RunRecord) -> bool:
    """Return whether the run was written with the same epochs; delete an earlier one with others."""
    same = False
    for found in client.search_runs([experiment], f"tags.`{ID}` = '{run.id}'"):
        if found.data.tags.get(EPOCHS) == _epochs_tag(run) and not same:
            same = True
        else:
            client.delete_run(found.info.run_id)
    return same


def _epochs_tag(run: RunRecord) -> str:
    return f"{run.epochs_done} {run.status}"


def _write_run(client: Any, experiment: str, run: RunRecord, epochs: list[EpochMetrics]) -> None:
    from mlflow.entities import Metric, Param

    labels = {"ffcli.key": run.key, "ffcli.tags": ",".join(run.tags), "mlflow.note.content": run.note}
    tags = {ID: run.id} | {name: value for name, value in labels.items() if value}
    name = run.name or title(run)
    id = client.create_run(experiment, start_time=_milliseconds(run.started), tags=tags, run_name=name).info.run_id
    client.log_batch(id, params=[Param(name, str(value)) for name, value in parameters(run).items()])
    points = [
        Metric(name, value, _milliseconds(end), epoch.epoch)
        for epoch, end in moments(run, epochs)
        for name, value in metrics(epoch).items()
    ]
    end = _milliseconds(run.ended or run.started)
    points += [Metric(name, value, end, run.epochs_done) for name, value in results(run).items()]
    for start in range(0, len(points), BATCH):
        client.log_batch(id, metrics=points[start : start + BATCH])
    # This comes last: a run that was not written to its end is written again the next time.
    client.set_tag(id, EPOCHS, _epochs_tag(run))
    client.set_terminated(id, STATUS.get(run.status, "KILLED"), end)


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
