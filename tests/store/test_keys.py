"""The keys of stored results never change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ffcli.store.database import open_store
from ffcli.store.runs import Filters, list_runs

RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.parametrize(("name", "count"), [("study.db", 156), ("cures.db", 156), ("further.db", 23)])
def test_every_stored_config_gives_its_key(tmp_path: Path, name: str, count: int) -> None:
    copy = Path(shutil.copy(RESULTS / name, tmp_path))
    with open_store(copy, create=False) as store:
        runs = list_runs(store, Filters(include_superseded=True))
    assert len(runs) == count
    assert all(run.config.key == run.key for run in runs)
