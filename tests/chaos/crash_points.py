"""Every crash point of the product and how a run is made to pass it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PRODUCT = ("stream_infer", "connectors", "ops")


@dataclass(frozen=True)
class Case:
    """A point that ends the driver, and what a run needs to come to it.

    Attributes:
        bad: a record that kills its worker must be among the input.
        replay: rejects of earlier starts must be asked for again.
        limits: the pipeline's limits in that run.
        where: ``s3`` or ``disk`` when only that life passes it.
    """

    point: str
    bad: bool = False
    replay: bool = False
    limits: dict[str, Any] = field(default_factory=dict)
    where: str = ""


def _around(*names: str) -> list[str]:
    return [f"{name}.{side}" for name in names for side in ("before", "after")]


def _transaction(*calls: str) -> list[str]:
    return [f"ledger.{call}.{moment}" for call in calls for moment in ("begun", "row", "committed")]


_BISECTION = [
    *_around("retire", "bisect", "reject"),
    *_transaction("bisect", "reject"),
]
_PLAIN = [
    "ledger.begin",
    "ledger.acquire.row",
    "ledger.acquire.committed",
    *_transaction("plan", "commit", "acknowledge", "beat", "release"),
    "plan.step",
    "plan.stored",
    *_around("dispatch", "receipts", "source.committed", "kafka.offsets"),
    "outcome",
    "execution.warm",
    "after.moved",
    "drain.begin",
    "drain.executed",
    "drain.committed",
    "drain.end",
]
# A start that finds unfinished work passes these. The kill before leaves some, and so does each of these kills: first
# with files that nobody knows of, then without a file.
_RECOVERY = [
    *("receipts.before", "recover.begin", "recover.found", "recover.adopted"),
    *("dispatch.before", *_transaction("attempt"), "recover.counted"),
]
_REPLAY = ["replay.step", "replay.stored", *_transaction("replay", "answer")]
_PUBLISH = [*_around("rejects.publish", "rejects.kafka"), *_transaction("publish", "sample")]
_FIRST = ["ledger.open.row", "ledger.open.committed"]

DRIVER = [
    *(Case(point) for point in (*_FIRST, *_PLAIN)),
    *(Case(point) for point in _RECOVERY),
    *(Case(point, limits={"execution_splits": 1}) for point in _around("rotate")),
    *(Case(point, bad=True, limits={"attempts": 1}) for point in _BISECTION),
    *(Case(point, bad=True, replay=True, limits={"attempts": 1}) for point in _REPLAY),
    *(Case(point, bad=True, limits={"attempts": 1}) for point in _PUBLISH),
    Case("events.polled", where="s3"),
    *(Case(point, where="s3") for point in _around("store.put")),
    *(Case(point) for point in (*_around("store.head", "store.delete"), "store.list.page")),
    *(Case(point, where="disk") for point in _around("store.replace")),
]
# These end a worker; several are armed in one run, for the service goes on by itself.
WORKER = [
    *_around("read", "infer", "write", "infer.model", "store.get", "setup"),
    "read.decoded",
    "gate.before",
    "kafka.fetched",
    "sink.created",
]
WORKER_ON = {
    "s3": _around("store.create"),
    "disk": [
        "store.temporary",
        "store.temporary.torn",
        *_around("store.fsync", "store.link", "store.folder", "store.folder_sync"),
        "store.unlink",
    ],
}
# Passed only when two instances meet at one file, or by an SQS queue; the tests named hold those.
_REBUILD = ["begun", "planned", "committed", "filled", "ended", "aside.before", "aside.after"]
ELSEWHERE = {
    **dict.fromkeys([f"rebuild.{point}" for point in _REBUILD], "tests/maintenance/test_rebuild_kills.py"),
    **dict.fromkeys(("ledger.request.row", "ledger.request.committed"), "tests/ops/test_rejects.py"),
    **dict.fromkeys(
        _transaction("forgive"), "may be lost: tests/driver/test_supervisor.py::test_the_circuit_breaker_stops_the_line"
    ),
    "sink.taken": "tests/chaos/test_crash_points.py::test_a_kill_beside_a_file_that_stands",
    **dict.fromkeys(_around("events.delete"), "SQS gives a message again: tests/connectors/files/test_events.py"),
}


def in_the_plan() -> set[str]:
    """Every point that some test passes."""
    return {case.point for case in DRIVER} | {*WORKER, *WORKER_ON["s3"], *WORKER_ON["disk"]} | ELSEWHERE.keys()


def in_the_code() -> set[str]:
    """Patterns (regular expressions) of the points as the source names them."""
    patterns = set()
    for call in _calls():
        kind = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        for name in _names(call.args[0]):
            if kind == "around":
                patterns |= {rf"{name}\.before", rf"{name}\.after"}
            elif kind == "write":
                patterns.add(rf"{name}\.torn")
            else:
                patterns.add(name)
    return patterns


def _names(node: ast.expr) -> list[str]:
    if isinstance(node, ast.IfExp):
        return _names(node.body) + _names(node.orelse)
    if isinstance(node, ast.JoinedStr):
        parts = [re.escape(str(part.value)) if isinstance(part, ast.Constant) else "[a-z]+" for part in node.values]
        return ["".join(parts)]
    if isinstance(node, ast.Constant):
        return [re.escape(str(node.value))]
    return ["(read|infer|write)"]  # the step's own name


def _calls() -> Iterator[ast.Call]:
    for folder in PRODUCT:
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    owner = node.func.value
                    if isinstance(owner, ast.Name) and owner.id == "crash":
                        yield node
