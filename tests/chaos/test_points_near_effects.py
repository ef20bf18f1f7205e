"""No effect that the outside can see is without a crash point, and no crash point is without a test."""

from __future__ import annotations

import ast
import re

from crash_points import PRODUCT, ROOT, in_the_code, in_the_plan

# Calls that change or read the outside world.
EFFECTS = re.compile(
    r"^(os\.(link|fsync|replace|unlink|mkdir|rename|remove|scandir|stat|write|truncate)|obstore\.\w+|open|shutil\.\w+"
    r"|connection\.(commit|begin)|.*\.(write_bytes|write_text|unlink|touch|rmdir|mkdir)"
    r"|self\._client\.\w+_(object|message|message_batch)|self\._fs\(\)\.[a-z]\w+|consumer\.(poll|consume)|self\._consumer\.poll"
    r"|self\._(cluster|group\(group\))\.commit|self\.target\.publish|producer\.(produce|flush)|self\._(sink|_sink)\.(write|retire|find)"
    r"|self\._ledger\.(plan|commit|bisect|reject|attempt|replay|publish))$"
)
EXCUSED = {
    "connectors/storage/fsspec_store.py::_write": "its callers stand a point on each side of it",
    "connectors/kafka/cluster.py::commit": "its caller stands a point on each side of it",
    "connectors/kafka/rejects.py::_produce": "its caller stands a point on each side of it",
    "connectors/kafka/ages.py::_look": "reads time stamps for a gauge; keeps nothing",
    "connectors/storage/objects.py::_open": "makes a client, sends nothing",
    "connectors/kafka/reader.py::_fetches": "its caller passes a point for each fetch",
    "connectors/kafka/watcher.py::_watch": "looks whether there is something new; consumes nothing that is kept",
    "connectors/kafka/watcher.py::timestamp": "reads a time stamp; keeps nothing",
    "stream_infer/worker/stages.py::run": "the stage that calls a step stands a point on each side of it",
    "stream_infer/ledger/store.py::parse_url": "makes the ledger's folder, empty",
    "stream_infer/models/base.py::_file_digest": "reads weights that do not change, before any work is taken",
}


def test_every_point_of_the_code_is_passed_by_a_test_and_every_planned_point_exists() -> None:
    patterns, planned = in_the_code(), in_the_plan()
    unplanned = {pattern for pattern in patterns if not any(re.fullmatch(pattern, point) for point in planned)}
    gone = {point for point in planned if not any(re.fullmatch(pattern, point) for pattern in patterns)}
    assert (unplanned, gone) == (set(), set())
    assert len(planned) >= 40


def test_every_function_with_an_effect_has_a_point() -> None:
    bare = []
    for file in sorted(path for folder in PRODUCT for path in (ROOT / folder).rglob("*.py")):
        name = str(file.relative_to(ROOT))
        if name.startswith("ops/"):  # what people run to look on; it has no effect on the data
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef) and f"{name}::{node.name}" not in EXCUSED:
                calls = [ast.unparse(inner.func) for inner in ast.walk(node) if isinstance(inner, ast.Call)]
                if any(map(EFFECTS.match, calls)) and not any(call.startswith("crash.") for call in calls):
                    bare.append(f"{name}::{node.name}: {[call for call in calls if EFFECTS.match(call)]}")
    assert bare == []
