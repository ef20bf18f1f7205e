"""A ledger, an output folder and a broker that version 0.1.0 left during its work. This version continues with them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from kafka import KafkaConsumer, TopicPartition
from typer.testing import CliRunner

from stream_infer.ops.cli import app
from stream_infer.ops.parts import PartMissing
from stream_infer.ops.parts.kafka import start_brokers

HERE = Path(__file__).parent
FIXTURE = HERE / "fixture-0.1.0"
ROOT = Path("/tmp/stream-infer-0.1.0")  # coordinates of local files name their folder
pytestmark = pytest.mark.timeout(400)


@dataclass(frozen=True)
class Old:
    """The unpacked ledger and folders of version 0.1.0.

    Attributes:
        servers: the broker of its topic, with the data of then.
    """

    servers: str

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of this version over the pipeline file of 0.1.0."""
        name, *more = arguments
        environment = {
            **os.environ,
            "KAFKA": self.servers,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE.parents[1])]),
        }
        command = [sys.executable, "-m", "stream_infer.ops.cli", name, str(ROOT / "pipeline.yaml"), *more]
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300
        )

    def ask(self, *arguments: str) -> Any:
        """The document that a command prints. In this process: a dozen interpreters would take a minute to start."""
        name, *more = arguments
        command = [name, str(ROOT / "pipeline.yaml"), *more, "--json"]
        with contextlib.chdir(ROOT):
            asked = CliRunner().invoke(app, command, env={"KAFKA": self.servers})
        assert asked.stdout, asked.exception
        return json.loads(asked.stdout)

    def finish(self) -> None:
        """Run until everything is done."""
        done = self.run("run", "--until-idle")
        assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The content of the archive. A lock keeps other test runs of this machine out of `ROOT`."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(FIXTURE / "fixture.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    with Path(f"{ROOT}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
        shutil.rmtree(ROOT, ignore_errors=True)


@pytest.fixture(scope="module")
def servers(unpacked: Path) -> Iterator[str]:
    """A broker that continues with the data of version 0.1.0."""
    (unpacked / "broker" / "1").mkdir(parents=True)
    shutil.copytree(unpacked / "kafka", unpacked / "broker" / "1" / "data")
    try:
        with start_brokers(unpacked / "broker") as brokers:
            yield brokers[0].servers
    except PartMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def old(unpacked: Path, servers: str) -> Old:
    """Every file as the kill left it, at its original path."""
    shutil.rmtree(ROOT, ignore_errors=True)
    shutil.copytree(unpacked, ROOT, ignore=lambda _folder, _names: ["broker", "kafka"])
    for name in ("hash_model.py", "pipeline.yaml"):
        shutil.copy(FIXTURE / name, ROOT)
    return Old(servers)


def test_what_the_old_version_answered_the_new_one_answers(old: Old, unpacked: Path) -> None:
    answers = json.loads((unpacked / "answers.json").read_text())
    assert {split["state"] for splits in answers["where"].values() for split in splits} >= {"committed", "rejected"}
    assert {reject["state"] for reject in answers["rejects"]} == {"open", "resolved"}
    assert old.ask("audit") == answers["audit"]
    assert old.ask("rejects", "list") == answers["rejects"]
    assert {name: old.ask("where", name) for name in answers["where"]} == answers["where"]
    assert old.ask("status") == answers["status"]


def test_the_work_goes_on_and_nothing_is_lost_or_there_twice(old: Old) -> None:
    names_before = _files()
    old.finish()
    _whole(old)
    assert names_before.items() <= _files().items()
    finished, status = _files(), old.ask("status")["records"]
    old.finish()
    assert _files() == finished
    assert old.ask("status")["records"] == status


def test_the_ledger_is_rebuilt_from_the_old_files(old: Old) -> None:
    for file in ROOT.glob("ledger.db*"):
        file.unlink()
    counts = old.ask("rebuild", "--settle", "0")
    assert counts["committed"] > 0
    assert counts["planned"] > 0
    old.finish()
    _whole(old)


def _whole(old: Old) -> None:
    """Check that every input ended once, as a row with its digest or as a reject."""
    expected = {**_of_files(), **_of_kafka(old.servers)}
    bad = {name for name, text in expected.items() if text.startswith(("raise ", "kill ", "mend row", "{"))}
    assert len(bad) == 7
    assert _rows() == Counter({(name, _digest(text)): 1 for name, text in expected.items() if name not in bad})
    rejects = {item["record_id"]: item["state"] for item in old.ask("rejects", "list")}
    assert {_plain(name) for name, state in rejects.items() if state == "open"} == bad
    records = len(expected)
    counts = {"planned": records, "committed": records - 7, "rejected": 7, "in_flight": 0, "lost": 0, "duplicated": 0}
    assert old.ask("audit") == counts


def _files() -> dict[str, int]:
    return {str(file.relative_to(ROOT)): file.stat().st_mtime_ns for file in ROOT.glob("out/*/*.parquet")}


def _rows() -> Counter[tuple[str, str]]:
    rows: Counter[tuple[str, str]] = Counter()
    for file in ROOT.glob("out/*/*.parquet"):
        table = pq.ParquetFile(file).read()
        if table.num_rows:
            names = table.column("record_id").to_pylist()
            rows.update(zip(map(_plain, names), table.column("digest").to_pylist(), strict=True))
    return rows


def _of_files() -> dict[str, str]:
    """Coordinate to text, of every record of the two folders."""
    texts = {}
    for file in [*ROOT.glob("notes/*"), *ROOT.glob("rows/*")]:
        status = file.stat()
        object_id = f"file://{file}?version={status.st_mtime_ns:x}-{status.st_size:x}"
        lines = file.read_text().splitlines() if file.suffix == ".jsonl" else [json.dumps({"text": file.read_text()})]
        for row, line in enumerate(lines):
            texts[f"{object_id}#{row}"] = json.loads(line)["text"] if line.startswith('{"') else line
    return texts


def _of_kafka(servers: str) -> dict[str, str]:
    """Coordinate without its cluster to text, of every message."""
    consumer = KafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False)
    partitions = [TopicPartition("fixture", number) for number in range(2)]
    consumer.assign(partitions)
    consumer.seek_to_beginning()
    ends = consumer.end_offsets(partitions)
    texts = {}
    while any(consumer.position(partition) < ends[partition] for partition in partitions):
        for messages in consumer.poll(1000).values():
            texts.update({f"fixture/{m.partition}/{m.offset}": m.value.decode() for m in messages})
    consumer.close()
    return texts


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(record_id: str) -> str:
    return record_id.split("/", 3)[3] if record_id.startswith("kafka://") else record_id
