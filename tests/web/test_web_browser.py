"""The page in a real browser: Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ff import FF
from web_helpers import SCRIPT, add_epoch, begin, fill, serving

from ffcli.store.database import open_store

playwright = pytest.importorskip("playwright.sync_api", reason="no browser driver: pip install playwright")

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        installed = shutil.which("chromium") or shutil.which("google-chrome") or driver.chromium.executable_path
        if not Path(installed).exists():
            pytest.skip("no browser: install chromium, or run `playwright install chromium`")
        with driver.chromium.launch(executable_path=installed, args=FLAGS) as found:
            yield found


@pytest.fixture
def opened(browser: Any) -> Iterator[tuple[Any, list[str], list[str]]]:
    """Yield a page of the browser, its console messages and errors, and the addresses that it asked for."""
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    yield page, said, asked
    page.close()


def column(page: Any, number: int) -> list[str]:
    """The texts of a column of the shown runs."""
    cells = page.locator(f".runs > tbody > tr[data-place]:not([hidden]) > :nth-child({number})")
    return [text.strip() for text in cells.all_inner_texts()]


def test_a_reader_sorts_filters_and_opens_cells_with_the_keyboard(
    ff: FF, opened: tuple[Any, list[str], list[str]]
) -> None:
    page, said, asked = opened
    with open_store(ff.db) as store:
        fill(store)
    file = ff.folder / "page.html"
    ff("report", "--html", str(file))
    page.goto(file.as_uri())

    final = page.locator("th button[data-column=final]")
    for order, direction in ((True, "descending"), (False, "ascending")):
        final.click()
        shown = [float(text) for text in column(page, 9)]
        assert shown == sorted(shown, reverse=order)
        assert page.locator("[aria-sort]").get_attribute("aria-sort") == direction

    page.locator("#words").fill("fashion masks 16:1")
    assert column(page, 4) == ["16:1"] * 3
    assert page.locator("#count").inner_text() == "3 of 8 runs"
    page.locator("#words").fill("no such run")
    assert page.locator("#none").is_visible()

    cell = page.locator("button[data-title='fashion masks 16:1']")
    cell.focus()
    page.keyboard.press("Enter")
    assert cell.get_attribute("aria-expanded") == "true"
    box = page.locator(f"#{cell.get_attribute('aria-controls')}")
    assert box.locator("tbody td:nth-child(6)").all_inner_texts() == ["60.00", "69.00", "78.00"]
    assert box.locator("svg polyline.curve").count() == 3
    box.locator("a").first.press("Enter")
    assert page.evaluate("document.activeElement.className") == "run"
    assert page.locator(".runs .opened svg").count() == 4
    cell.press("Space")
    assert cell.get_attribute("aria-expanded") == "false"

    assert page.locator(".name").inner_text() == SCRIPT
    page.locator("#theme").click()
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert said == []
    assert asked == [file.as_uri()]


def test_a_live_page_updates_itself_and_keeps_what_its_reader_did(
    ff: FF, opened: tuple[Any, list[str], list[str]]
) -> None:
    pytest.importorskip("waitress", reason="the extra ffcli[serve] is not installed")
    page, said, asked = opened
    with open_store(ff.db) as store:
        fill(store)
        mine = begin(store, 2, dataset="mnist", neg="masks", pos_phase=1)
        add_epoch(store, mine, 0, 10.0)
        add_epoch(store, mine, 1, 41.25)
        with serving(ff, "--port", "0") as (port, _):
            page.goto(f"http://127.0.0.1:{port}/")
            page.locator("th button[data-column=seed]").click()
            page.locator("#words").fill("masks")
            cell = page.locator("button[data-title='fashion masks 16:1']")
            cell.click()
            page.evaluate("scrollTo(0, 321)")
            before, order = page.evaluate("scrollY"), column(page, 6)
            page.wait_for_timeout(2500)
            add_epoch(store, mine, 2, 52.75)
            page.get_by_role("table", name="Runs").get_by_text("52.75").first.wait_for(timeout=15_000)
            assert page.evaluate("scrollY") == before
            assert column(page, 6) == order == ["2", "2", "1", "1", "0", "0", "0"]
            assert page.locator("#words").input_value() == "masks"
            assert cell.get_attribute("aria-expanded") == "true"
            assert page.locator(".cells .opened svg").count() == 1
            assert page.evaluate("document.activeElement.dataset.title") == "fashion masks 16:1"
            assert said == []
            assert set(asked) == {f"http://127.0.0.1:{port}/"}
        page.get_by_text("No connection to ff serve").wait_for(timeout=15_000)
