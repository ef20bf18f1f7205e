"""The status page in a real browser: what it shows, how it lives, on which screens, and what its button does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from stream_infer.contracts import Planned
from stream_infer.pipeline import Pipeline
from stream_infer.splits import Receipt, Reject, Split
from stream_infer.telemetry import metrics as m
from tests.ops.service.page_kit import BAD, serve_filled, settings

Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def served_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Pipeline]]:
    with serve_filled(settings(tmp_path_factory.mktemp("page"))) as served:
        yield served


def _commit(pipeline: Pipeline, start: int, stop: int) -> None:
    """A split comes through, as the engine would tell it."""
    ledger = pipeline.ledger()
    bounds = {"position_key": "tickets/0", "start": start, "stop": stop}
    split = Split.of("stream", bounds, folder="d", records=stop - start, bytes=1, planned_at=5.0)
    ledger.plan("stream", [Planned(split, positions={"tickets/0": stop})])
    ledger.commit([Receipt(split.split_id, "stream", 1, bounds, file="d/2.parquet", rows=stop - start)])
    pipeline.metrics.add(m.RECORDS_COMMITTED, stop - start, "stream")


def test_the_first_view_has_everything_without_a_script(served_page: tuple[str, Pipeline], visit: Visit) -> None:
    page = visit(served_page[0], java_script_enabled=False)
    expect(page).to_have_title("! tickets · stream-infer")
    expect(page.locator(".verdict .sentence")).to_have_text("The service is starting and processes no record yet.")
    expect(page.locator("svg.wide")).to_be_visible()
    expect(page.locator("svg.wide .box")).to_have_count(6)  # two sources, three stages, the sink
    expect(page.locator("section", has_text="Sources").last).to_contain_text("tickets at 127.0.0.1:1")
    expect(page.locator("td[data-label=time]", has_text="infer")).to_have_text("read 12 ms · infer:mood 250 ms")
    expect(page.locator(".rejects li")).to_contain_text(BAD)
    expect(page.locator(".replay")).to_be_hidden()
    page.fill("#where", "docs/a.txt")
    page.click("text=Find")
    expect(page.locator(".where")).to_contain_text("docs/a.txt was never planned; the sources are stream (tickets at")
    page.fill("#where", "tickets/0/7")
    page.click("text=Find")
    expect(page.locator(".endings")).to_contain_text("rejected")


def test_what_a_record_says_is_text_and_never_markup(served_page: tuple[str, Pipeline], visit: Visit) -> None:
    page = visit(f"{served_page[0]}/?where=<b>bold</b>")
    expect(page.locator(".where h2")).to_have_text("<b>bold</b>")
    expect(page.locator(".rejects p").first).to_contain_text("<b>is no text</b>")
    assert page.locator("main b b, .where b, .rejects p b:has-text('no text')").count() == 0


def test_numbers_change_while_one_looks(served_page: tuple[str, Pipeline], visit: Visit) -> None:
    url, pipeline = served_page
    page = visit(url)
    field = page.locator("#where")
    field.fill("half a word")
    first = int(page.locator(".ends b").nth(1).inner_text().replace(",", ""))
    _commit(pipeline, 100, 1100)
    expect(page.locator(".ends b").nth(1)).to_have_text(f"{first + 1000:,}")
    expect(page.locator("section", has_text="Recent splits").locator("code").first).to_have_text(
        "tickets/0 100 … 1,099"
    )
    expect(page.locator(".tile").first.locator("b")).not_to_have_text("0 records/s")
    expect(field).to_have_value("half a word")


def test_nothing_is_loaded_from_elsewhere(served_page: tuple[str, Pipeline], visit: Visit) -> None:
    page = visit("about:blank")
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.goto(served_page[0])
    page.goto(f"{served_page[0]}/api/docs")
    expect(page.locator("table")).to_contain_text("POST /api/v1/rejects/replay")
    assert hosts == {urlsplit(served_page[0]).netloc}


def test_light_and_dark(served_page: tuple[str, Pipeline], visit: Visit) -> None:
    seen = {
        scheme: visit(served_page[0], color_scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    }
    assert seen == {"light": "rgb(245, 246, 248)", "dark": "rgb(14, 18, 23)"}


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_screen_scrolls_sideways(served_page: tuple[str, Pipeline], visit: Visit, width: int) -> None:
    page = visit(f"{served_page[0]}/?where=tickets/0/7", viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    expect(page.locator("svg.tall" if width < 896 else "svg.wide")).to_be_visible()


def test_a_button_replays_a_reject_and_again_when_it_fails_again(tmp_path: Path, visit: Visit) -> None:
    with serve_filled(settings(tmp_path)) as (url, pipeline):
        page = visit(url)
        button = page.locator(".replay")
        button.click()
        expect(button).to_have_text("Requested")
        expect(button).to_be_disabled()
        ledger = pipeline.ledger()
        ((asked, split),) = ledger.replayable("stream", 10)
        assert asked.reject.record_id == BAD
        again = Split.of("stream", {**split.bounds, "start": 7, "stop": 8, "replay": 1}, folder="d", records=1, bytes=1)
        ledger.replay("stream", [(asked, again)])
        reject = Reject(BAD, "stream", "read", "UnicodeDecodeError", "still no text", 1, 5.0)
        ledger.commit([Receipt(again.split_id, "stream", 1, again.bounds, rejects=(reject,))])
        expect(page.locator(".rejects")).to_contain_text("still no text")
        expect(button).to_have_text("Replay")
        expect(button).to_be_enabled()


def test_all_rejects_are_replayed_at_once_by_who_means_it(tmp_path: Path, visit: Visit) -> None:
    with serve_filled(settings(tmp_path)) as (url, pipeline):
        page = visit(url)
        expect(page.locator(".replay")).to_have_text(["Replay"])  # one has its own button
        ledger = pipeline.ledger()
        bounds = {"position_key": "tickets/1", "start": 0, "stop": 2}
        split = Split.of("stream", bounds, folder="d", records=2, bytes=1, planned_at=5.0)
        ledger.plan("stream", [Planned(split, positions={"tickets/1": 2})])
        bad = tuple(Reject(f"kafka://c/tickets/1/{n}", "stream", "infer", "ValueError", "no", 1, 3.0) for n in range(2))
        ledger.commit([Receipt(split.split_id, "stream", 1, bounds, rejects=bad)])
        every = page.locator(".replay", has_text="Replay all")
        page.once("dialog", lambda dialog: dialog.dismiss())
        every.click()
        assert ledger.replayable("stream", 10) == []
        page.once("dialog", lambda dialog: dialog.accept())
        every.click()
        expect(page.locator(".over .replay")).to_have_text("3 requested")
        assert len(ledger.replayable("stream", 10)) == 3


def test_a_service_that_ends_is_told(tmp_path: Path, visit: Visit) -> None:
    with serve_filled(settings(tmp_path)) as (url, _):
        page = visit(url)
        expect(page.locator("html.live")).to_be_attached()
        expect(page.locator("#disconnected")).to_be_hidden()
    expect(page.locator("#disconnected")).to_be_visible()
    expect(page.locator("html.outdated")).to_be_attached()  # no green sentence of the past
    expect(page).to_have_title("? tickets · stream-infer")


def test_an_answer_that_is_no_stream_is_not_the_end(served_page: tuple[str, Pipeline], visit: Visit) -> None:
    page = visit("about:blank")
    page.route("**/events", lambda route: route.fulfill(status=502))  # a proxy whose service is being restarted
    page.goto(served_page[0])
    expect(page.locator("#disconnected")).to_be_visible()
    page.unroute("**/events")
    expect(page.locator("#disconnected")).to_be_hidden()
    expect(page).to_have_title("! tickets · stream-infer")


def test_one_logs_in_with_the_token(tmp_path: Path, visit: Visit) -> None:
    token = "a-token-of-the-tests-0123456789"
    with serve_filled(settings(tmp_path, token=token)) as (url, _):
        page = visit(url)
        page.fill("#token", "wrong")
        page.click("button")
        expect(page.get_by_role("alert")).to_have_text("That is not the token.")
        page.fill("#token", token)
        page.click("button")
        expect(page.locator(".verdict")).to_be_visible()
        page.locator(".replay").click()
        expect(page.locator(".replay")).to_have_text("Requested")
        page.click("text=Log out")
        expect(page.locator("#token")).to_be_visible()


def test_a_pass_that_has_ended_leads_to_the_form(tmp_path: Path, visit: Visit) -> None:
    token = "a-token-of-the-tests-0123456789"
    with serve_filled(settings(tmp_path, token=token)) as (url, _):
        page = visit(url)
        page.route("**/events", lambda route: route.fulfill(status=401))
        page.fill("#token", token)
        page.click("button")
        expect(page.locator("#disconnected")).to_be_visible()
        page.context.clear_cookies()
        expect(page.locator("#token")).to_be_visible()
