"""A pipeline that is served without running: its ledger holds what an earlier run left."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stream_infer import config
from stream_infer.contracts import ObjectVersion, Planned
from stream_infer.ops.service import serving
from stream_infer.pipeline import Pipeline
from stream_infer.splits import Receipt, Reject, Split

BAD = "kafka://c/tickets/0/7"


def settings(folder: Path, **serve: Any) -> config.PipelineSettings:
    """Two sources, a model that does not exist, and a port of the system's choice."""
    return config.parse(
        {
            "name": "tickets",
            "ledger": f"sqlite:///{folder}/ledger.db",
            "sources": [
                {"name": "stream", "kind": "kafka", "servers": "127.0.0.1:1", "topics": ["tickets"]},
                {"name": "inbox", "kind": "files", "url": "s3://AKIA:s3cr3t-word@in/docs/", "format": "text"},
            ],
            "model": {"kind": "python", "python": "no_such_module:Model"},
            "sink": {"url": "s3://out/rows?sig=s3cr3t-word"},
            "serve": {"port": 0, **serve},
        }
    )


def fill(pipeline: Pipeline) -> None:
    """Ten messages, one of them rejected, and an object that is in flight."""
    ledger = pipeline.ledger()
    ledger.acquire("an-earlier-run:1")
    bounds = {"position_key": "tickets/0", "start": 0, "stop": 10, "topic": "tickets", "partition": 0, "cluster": "c"}
    split = Split.of("stream", bounds, folder="d", records=10, bytes=100, planned_at=1.0)
    ledger.plan("stream", [Planned(split, positions={"tickets/0": 10})])
    reject = Reject(BAD, "stream", "read", "UnicodeDecodeError", "byte 0xff <b>is no text</b>", 1, 2.0)
    seconds = {"read": 0.012, "infer:mood": 0.25}  # as a receipt has them: of any stages, writing is none of them
    ledger.commit(
        [Receipt(split.split_id, "stream", 1, bounds, "d/1.parquet", rows=9, rejects=(reject,), seconds=seconds)]
    )
    item = {"key": "docs/a.txt", "version": "v1", "size": 3, "modified": 1.0}
    other = Split.of("inbox", {"objects": [item]}, folder="d", records=1, bytes=3, planned_at=3.0)
    claim = ObjectVersion("s3://in/docs/a.txt?version=v1", 3, 0.0)
    ledger.plan("inbox", [Planned(other, objects=(claim,))])


@contextmanager
def serve_filled(chosen: config.PipelineSettings) -> Iterator[tuple[str, Pipeline]]:
    """A filled pipeline that does not run, and the URL of its service."""
    with closing(Pipeline(chosen)) as pipeline:
        fill(pipeline)
        with serving(pipeline) as url:
            assert url is not None
            yield url, pipeline


@contextmanager
def served(chosen: config.PipelineSettings) -> Iterator[str]:
    """The URL alone."""
    with serve_filled(chosen) as (url, _):
        yield url


@dataclass(frozen=True)
class Answer:
    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def ask(url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
    """One request; redirects are answers. Underscores in header names are dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body, named, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay)
    try:
        with opener.open(request, timeout=30) as answer:
            return Answer(answer.status, answer.read().decode(), dict(answer.headers))
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.read().decode(), dict(error.headers))
