"""`ff report --html` and the rendered page, without a browser."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ff import FF
from web_helpers import DATASET, SCRIPT, TAG, fill

from ffcli.report.sheet import TIMES
from ffcli.store.database import open_store
from ffcli.text import printable

if TYPE_CHECKING:
    from inside import Inside

pytest_plugins = ["inside"]


class Page(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        (self.scripts if self._inside == "script" else self.texts).append(data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> Inside:
    """Return `ff` with a few stored runs; tests only read them."""
    from inside import Inside

    ff = FF(tmp_path_factory.mktemp("page"), data_folder)
    with open_store(ff.db) as store:
        fill(store)
    return Inside(ff)


@pytest.fixture(scope="module")
def page(stored: Inside) -> Page:
    file = stored.ff.folder / "page.html"
    assert stored("report", "--html", str(file)).stdout == f"{file}: 8 runs\n"
    return Page(file.read_text(encoding="utf-8"))


def test_the_page_shows_the_tables_with_the_papers_figures_and_the_runs_of_each_cell(page: Page) -> None:
    text = " ".join(" ".join(page.texts).split())
    for shown in ("Table 2: n positive hours, 1 negative hour", "seeds 0-2", "81.0", f"±1.0† {TIMES}3", "56", "+25.0"):
        assert shown in text
    cells = {button["data-title"]: button["data-runs"] for button in page.attributes("button") if "data-runs" in button}
    assert len(str(cells["fashion masks 1:1"]).split()) == len(str(cells["fashion masks 16:1"]).split()) == 3
    heads = page.attributes("th")
    assert all(head["scope"] in ("col", "row") for head in heads)
    assert len(page.attributes("table")) == len(page.attributes("caption"))


def test_the_page_loads_nothing(page: Page) -> None:
    policy = next(meta["content"] for meta in page.attributes("meta") if "http-equiv" in meta)
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "connect-src 'none'" in policy
    assert "unsafe" not in policy
    named = [value for _, attributes in page.tags for name in ("src", "href") if (value := attributes.get(name))]
    assert set(named) == {"data:,", "#runs-title"}
    assert not any(name.startswith("on") or name == "style" for _, attributes in page.tags for name in attributes)


def test_hostile_names_are_text(page: Page) -> None:
    text = "".join(page.texts)
    for name in (SCRIPT, TAG, printable(DATASET)):
        assert name in text
    assert not page.attributes("img")
    assert len(page.attributes("script")) == 2
    assert "\x1b" not in text
    curves = json.loads(page.scripts[0])
    assert ["note", SCRIPT] in next(curve["settings"] for curve in curves if curve["a"] == [10, 20, 30])


def test_curves_have_null_for_numbers_that_are_not_finite(page: Page) -> None:
    assert {tuple(layer) for curve in json.loads(page.scripts[0]) for layer in curve["g"]} == {
        (1.5, 1.5, 1.5), (None, None, None), (0.25, 0.25, 0.25)
    }  # fmt: skip


def test_filters_of_the_report_choose_what_the_page_shows(stored: Inside) -> None:
    file = stored.ff.folder / "some.html"
    assert stored("report", "--html", str(file), "--tag", "night", "--table", "2").stdout == f"{file}: 1 run\n"
    assert "leave out --protocol" in stored.refused("report", "--html", str(file), "--protocol", "fast")
    text = file.read_text(encoding="utf-8")
    assert "Table 2" in text
    assert "Table 1" not in text
    assert re.search(r"<b>ff.db</b> · 1 run ·", text)


def test_an_empty_database_says_how_to_begin(inside: Inside, tmp_path: Path) -> None:
    open_store(inside.ff.db).close()
    inside("report", "--html", str(tmp_path / "page.html"))
    assert "To start: <code>ff train" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_serve_names_the_extra_that_it_needs(stored: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "waitress.server", None)  # as if it was not installed
    assert 'pip install "ffcli[serve]"' in stored.refused("serve")


def test_files_that_cannot_be_written_are_refused(stored: Inside) -> None:
    folder, db = stored.ff.folder, stored.ff.db
    before = db.read_bytes()
    assert "is a folder" in stored.refused("report", "--html", str(folder))
    assert "there is no folder" in stored.refused("report", "--html", str(folder / "none" / "page.html"))
    assert "is the database" in stored.refused("report", "--html", str(db))
    assert "--html and --json contradict" in stored.refused("report", "--html", "page.html", "--json")
    assert db.read_bytes() == before
