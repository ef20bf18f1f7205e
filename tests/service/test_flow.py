"""Records flow while one looks: real sources, model, sink and ledger, a real browser, and four troubles on the way.

With ``STREAM_INFER_PICTURES=docs/images`` the page is photographed there.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from local_generation import without_ray
from page_kit import ask
from playwright.sync_api import Browser

from ops.parts import PartMissing, Proxy, S3Server, start_toxiproxy
from ops.service import serving
from stream_infer import config
from stream_infer.pipeline import Pipeline

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]
_MODEL = """
import hashlib, pathlib, time
class Digest:
    def infer(self, batch):
        texts = batch.column("text").to_pylist()
        time.sleep(float(pathlib.Path({pace!r}).read_text()) * len(texts))
        for text in texts:
            if text.startswith("raise"):
                raise ValueError("cannot take " + text)
        return {{"digest": [hashlib.sha256(text.encode()).hexdigest() for text in texts]}}
"""
_SCREENS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1200, "height": 860}},
    "low": {"color_scheme": "light", "viewport": {"width": 1200, "height": 640}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1200, "height": 860}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 1560}},
}


@dataclass
class Flow:
    """A running pipeline and the means to trouble it."""

    url: str
    mail: Path
    pace: Path
    proxy: Proxy
    client: Any
    pictures: Path
    number: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def letter(self, text: bytes) -> None:
        self.number += 1
        path = self.mail / f"letter-{self.number:06}.txt"
        path.with_suffix(".part").write_bytes(text)
        path.with_suffix(".part").rename(path)

    def scan(self, count: int) -> None:
        for _ in range(count):
            self.number += 1
            self.client.put_object(Bucket="inbox", Key=f"scans/scan-{self.number:06}.txt", Body=b"a scanned page")

    def says(self, rule: str, *words: str) -> None:
        """Return when the doctor says it; prints what it says."""

        def heard() -> list[dict[str, str]]:
            found = ask(f"{self.url}/api/v1/doctor").json["findings"]
            return [item for item in found if item["rule"] == rule and all(word in item["sentence"] for word in words)]

        for item in self.until(heard):
            print(f"\n[{item['severity']}] {item['sentence']}\n    → {item['advice']}")

    def until(self, condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 240
        while not (found := condition()):
            assert time.monotonic() < deadline, json.dumps(ask(f"{self.url}/api/v1/status").json)[:4000]
            time.sleep(0.3)
        return found

    def photograph(self, browser: Browser, name: str, *screens: str) -> None:
        for screen in screens:
            page = browser.new_page(**_SCREENS[screen])
            page.set_default_timeout(120_000)
            page.goto(self.url)
            page.wait_for_selector("html.live .verdict")
            page.screenshot(path=self.pictures / f"{name.replace('*', screen)}.png", full_page=False)
            page.close()


@pytest.fixture(scope="module")
def flow(s3_server: S3Server, s3_client: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flow]:
    folder = tmp_path_factory.mktemp("flow")
    for bucket in ("inbox", "answers"):
        s3_client.create_bucket(Bucket=bucket)
    mail, pace = folder / "mail", folder / "pace"
    mail.mkdir()
    pace.write_text("0.004")
    (folder / "letters.py").write_text(_MODEL.format(pace=str(pace)))
    with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        try:
            proxies = stack.enter_context(start_toxiproxy(folder))
        except PartMissing as missing:
            pytest.skip(str(missing))
        proxy = proxies.proxy("s3", int(s3_server.endpoint_url.rpartition(":")[2]))
        far = {**s3_server.storage(), "endpoint_url": f"http://127.0.0.1:{proxy.port}"}
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        without_ray(patch)
        quick = {"settle": "0s", "poll": "500ms"}
        settings = config.parse(
            {
                "name": "letters",
                "ledger": f"sqlite:///{folder}/ledger.db",
                "sources": [
                    {"name": "mail", "kind": "files", "url": str(mail), "glob": "**/*.txt", "format": "text"}
                    | {"discover": quick},
                    {"name": "scans", "kind": "files", "url": "s3://inbox/scans/", "format": "text", "storage": far}
                    | {"discover": quick},
                ],
                "model": {"kind": "python", "python": "letters:Digest"},
                "stages": "three",
                "limits": {"split_records": 50, "attempts": 1, "freshness": "1s"},
                "sink": {"url": "s3://answers/letters/", "storage": s3_server.storage()},
                "serve": {"port": 0},
            }
        )
        pipeline = stack.enter_context(contextlib.closing(Pipeline(settings)))
        runner = threading.Thread(target=pipeline.run)
        with serving(pipeline) as url:
            assert url is not None
            runner.start()
            pictures = Path(os.environ.get("STREAM_INFER_PICTURES") or folder)
            made = Flow(url, mail, pace, proxy, s3_client, pictures if pictures.is_absolute() else _ROOT / pictures)
            try:
                made.until(lambda: ask(f"{url}/readyz").status == 200)
                yield made
            finally:
                made.stop.set()
                proxy.mend()
                pace.write_text("0")
                pipeline.stop()
                runner.join(120)


_ROOT = Path(__file__).parents[2]


def test_a_service_that_is_well_is_told_so(flow: Flow, browser: Browser) -> None:
    over = threading.Event()

    def feed() -> None:
        for number in range(1_000_000):
            flow.letter(b"\xff\xfe" if number % 300 == 7 else b"my printer is on fire, again (%d)" % number)
            if number % 30 == 0:
                flow.scan(1)
            if over.wait(0.01):
                return

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        flow.until(lambda: ask(f"{flow.url}/api/v1/status").json["recent"]["committed"] > 1000)
        flow.until(lambda: ask(f"{flow.url}/api/v1/status").json["rejects"])
        flow.says("well", "all is well")
        flow.photograph(browser, "page-*", "light", "dark", "phone")
    finally:
        over.set()
        thread.join()


def test_a_slow_model_is_named(flow: Flow) -> None:
    flow.pace.write_text("0.05")
    for number in range(2500):
        flow.letter(b"a letter (%d)" % number)
    flow.says("infer is slow", "infer is busy")


def test_a_store_that_is_away_is_named(flow: Flow, browser: Browser) -> None:
    flow.scan(300)
    flow.until(lambda: ask(f"{flow.url}/api/v1/status").json["sources"][1]["in_flight"] > 50)
    flow.pace.write_text("0.001")
    flow.proxy.cut()
    flow.says("source waits", "source scans", "S3")
    flow.says("stage waits", "read waits for S3")
    flow.photograph(browser, "page-trouble", "low")
    flow.proxy.mend()
    flow.until(lambda: ask(f"{flow.url}/api/v1/status").json["records"]["in_flight"] == 0)


def test_rejects_are_named_with_their_reason(flow: Flow) -> None:
    for number in range(2000):
        flow.letter(b"raise" if number % 2 else b"a letter (%d)" % number)
    flow.says("many rejects", "infer/ValueError of mail")
