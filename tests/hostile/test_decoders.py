"""Every file of the hostile corpus through the decoders, in a process of little memory: rows or rejects, nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_infer.config import AutoFormat, Limits
from stream_infer.connectors.kafka.settings import KafkaSettings, Pointer
from stream_infer.decode.decoder import Decoder
from stream_infer.errors import RejectRecord
from tests.hostile import corpus
from tests.hostile.corpus import RECORD_BYTES, Case

MEMORY = 700_000_000  # bytes that decoding one file may add: the limit of a record many times, a bomb never
CASES = {case.name: case for case in corpus.files()}


def test_the_corpus_is_large() -> None:
    assert len(CASES) == len(corpus.files()) >= 200


def test_every_file_ends_in_rows_or_rejects_within_little_memory(tmp_path: Path) -> None:
    """One child for all: a decoder that crashes, runs away or raises something else is named by the last line."""
    command = [sys.executable, __file__, str(MEMORY)]
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here.parents[1]), str(here)]), "CANARY": "canary"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"after {answers[-1:] or 'nothing'}: {done.stderr[-2000:]}"
    wrong = [
        answer
        for answer in answers
        if answer["problem"]
        or (CASES[answer["name"]].fate == "row" and (answer["rejects"] or not answer["rows"]))
        or (CASES[answer["name"]].fate == "reject" and (answer["rows"] or not answer["rejects"]))
    ]
    assert wrong == []
    assert len(answers) == len(CASES)
    assert list(tmp_path.iterdir()) == [], "something was executed"


def _answers(memory: int) -> Iterator[dict[str, object]]:
    import resource

    import psutil

    limits = Limits(record_bytes=RECORD_BYTES)
    for case in CASES.values():
        address_space = psutil.Process().memory_info().vms + memory
        resource.setrlimit(resource.RLIMIT_AS, (address_space, resource.RLIM_INFINITY))
        started = time.perf_counter()
        yield {"name": case.name, **_answer(case, limits), "seconds": round(time.perf_counter() - started, 2)}


def _answer(case: Case, limits: Limits) -> dict[str, object]:
    rows = rejects = 0
    try:
        if len(case.content) > limits.record_bytes:
            raise RejectRecord("larger than limits.record_bytes", reason="too_large")  # the reader's word
        for piece in Decoder(AutoFormat(), limits).decode(case.content, case.name):
            rows += piece.table.num_rows
            rejects += len(piece.rejects)
    except RejectRecord as error:
        rejects += 1
        if not str(error):
            return {"rows": rows, "rejects": rejects, "problem": "a reject without a reason"}
    except BaseException as error:
        return {"rows": rows, "rejects": rejects, "problem": f"{type(error).__name__}: {error}"[:300]}
    return {"rows": rows, "rejects": rejects, "problem": ""}


@pytest.mark.parametrize("value", corpus.pointers("s3://in/allowed/"), ids=lambda value: repr(value[:30]))
def test_a_pointer_reaches_nothing_but_its_folder(value: bytes) -> None:
    from stream_infer import config
    from stream_infer.connectors.kafka.contents import build_contents

    pointer = Pointer(prefixes=["s3://in/allowed/"], storage=config.Storage(endpoint_url="http://127.0.0.1:1"))
    source = KafkaSettings(name="s", kind="kafka", servers="x", topics=["t"], format="pointer", pointer=pointer)
    asked: list[str] = []

    class Nothing:
        def head(self, key: str) -> None:
            asked.append(key)

        def get(self, key: str) -> bytes:
            asked.append(key)
            return b"harmless"

    contents = build_contents(source, Limits())
    opened: dict[str, Nothing] = _Opened(Nothing)
    contents._one._stores = opened  # type: ignore[attr-defined]
    _table, rows, failures = contents.decode([value])
    assert len(rows) + len(failures) == 1
    assert all(root == "s3://in/" for root in opened)
    assert all((os.path.normpath(f"/{key}") + "/").startswith("/allowed/") for key in asked), asked
    assert all("\0" not in key and len(key.encode()) <= 1024 for key in asked), "no store holds it; some fail of it"


class _Opened(dict):
    """Stores as the reader opens them; remembers which."""

    def __init__(self, made: type) -> None:
        super().__init__()
        self._made = made

    def get(self, root: str) -> object:  # type: ignore[override]
        self[root] = self._made()
        return self[root]


if __name__ == "__main__":
    for answer in _answers(int(sys.argv[1])):
        print(json.dumps(answer), flush=True)
