"""The status page: a snapshot as HTML. The same templates render the first view and every live update."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from stream_infer.ops.service.picture import draw
from stream_infer.ops.watch import formatting
from stream_infer.ops.watch.snapshot import Snapshot
from stream_infer.ops.watch.symptoms import outside

# a sentence that begins with another word begins with a name
_BEGINNINGS = (
    *("read ", "infer ", "write ", "source ", "all ", "the ", "no ", "nothing ", "commits ", "rejects ", "ledger "),
    *(
        "this ",
        "start ",
        "it ",
        "its ",
        "look ",
        "correct ",
        "do ",
        "add ",
        "give ",
        "see ",
        "run ",
        "if ",
        "lengthen ",
    ),
    *("check ", "each ", "their ", "wait:", "fetching "),
)
_QUANTITY = re.compile(r"(\d) (%|[a-zA-Z]{1,3}\b)")  # a number stays on one line with its unit
PARTS = ("head", "verdict", "picture", "tiles", "sources", "rejects", "splits")


class Page:
    """The renderer of all pages. Stateless: any thread may call it."""

    def __init__(self, build: str, *, login: bool) -> None:
        self._common = {"build": build, "login": login}

    @cached_property
    def _templates(self) -> Environment:
        environment = Environment(
            loader=PackageLoader("stream_infer.ops.service"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
        )
        environment.filters |= {
            "number": formatting.number,
            "whole": "{:,}".format,
            "seconds": formatting.seconds,
            "ago": formatting.ago,
            "size": formatting.size,
            "percent": formatting.percent,
            "clipped": formatting.clipped,
            "count": formatting.count,
            "outside": outside,
            "sentence": sentence,
            "title": title,
            "in_words": in_words,
            "spark": spark,
            "fullness": fullness,
        }
        return environment

    def parts(self, snapshot: Snapshot) -> dict[str, str]:
        """The live parts by name."""
        values = {**self._common, "s": snapshot, "wide": draw(snapshot, "wide"), "tall": draw(snapshot, "tall")}
        return {name: self._templates.get_template(f"parts/{name}.html").render(values) for name in PARTS}

    def whole(self, snapshot: Snapshot, **answer: Any) -> str:
        """The whole page.

        Args:
            answer: of a search: ``asked``, ``endings``, and if there is none the ``explanation`` or the ``problem``.
        """
        parts = {name: Markup(html) for name, html in self.parts(snapshot).items()}
        values = {"asked": None, "endings": [], "explanation": None, "problem": None, **answer}
        return self._render("page.html", s=snapshot, parts=parts, **values)

    def login(self, pipeline: str, *, wrong: bool) -> str:
        """The form that asks for the token."""
        return self._render("login.html", pipeline=pipeline, wrong=wrong)

    def docs(self, calls: Sequence[tuple[str, str, str]]) -> str:
        """The API's calls: path, method, what it does."""
        return self._render("docs.html", calls=calls)

    def _render(self, template: str, **values: Any) -> str:
        return self._templates.get_template(template).render({**self._common, **values})


def sentence(text: str) -> str:
    """The text with a capital letter and a full stop. A name at the beginning stays as it is."""
    capitalised = text[:1].upper() + text[1:] if text.startswith(_BEGINNINGS) else text
    capitalised = _QUANTITY.sub("\\1\u00a0\\2", capitalised)
    return capitalised if capitalised.endswith((".", "!", "?", "…")) or not capitalised else f"{capitalised}."


def title(snapshot: Snapshot) -> str:
    """The title of the browser tab, with a mark in front if something is wrong."""
    mark = {"bad": "✗ ", "warn": "! "}.get(snapshot.findings[0].severity, "")
    return f"{mark}{snapshot.pipeline} · stream-infer"


def in_words(snapshot: Snapshot) -> str:
    """The picture as text, for a screen reader."""
    stages = ", ".join(f"{stage.name} {formatting.percent(stage.busy)} busy" for stage in snapshot.stages)
    sources = " and ".join(source.name for source in snapshot.sources)
    slow = f"; the bottleneck is {snapshot.bottleneck}" if snapshot.bottleneck else ""
    return f"{sources} through {stages or 'read, infer and write'} into Parquet{slow}"


def spark(history: Sequence[float], width: float, height: float) -> str:
    """An SVG path of a series, its greatest value at the top; empty for fewer than two points."""
    if len(history) < 2:
        return ""
    top = max(max(history), 1e-9)
    pitch = width / (len(history) - 1)
    points = (f"{at * pitch:.1f} {height - 2 - value / top * (height - 4):.1f}" for at, value in enumerate(history))
    return "M" + " L".join(points)


def fullness(snapshot: Snapshot) -> float:
    """In-flight bytes as a percentage of their limit, 0 … 100."""
    limit = snapshot.in_flight_limit
    return round(min(100.0, 100.0 * snapshot.in_flight_bytes / limit), 1) if limit else 0.0
