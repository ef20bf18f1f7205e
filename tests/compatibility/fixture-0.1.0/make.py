"""Makes fixture.tar.xz: a life of version 0.1.0, ended by SIGKILL in the middle of its work.

Run it with the release it is named after, as README.md beside it says. It needs Java and Maven for a broker.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from ops.parts.kafka import start_brokers

HERE = Path(__file__).parent
ROOT = Path("/tmp/stream-infer-0.1.0")  # coordinates of local files name their folder, so it is the same everywhere
KILLED = Path(f"{ROOT}.killed")  # a copy from before anybody looked: looking closes the ledger in good order
JANUARY, FEBRUARY = 1769774400, 1769947200  # 2026-01-30 and 2026-02-01, 12:00 UTC
# the ledger names its owner's machine
COMMAND = "import socket; socket.gethostname = lambda: 'maker'; from ops.cli import main; main()"
KEPT = ("ledger.db", "ledger.db-wal", "notes", "rows", "out", "kafka", "answers.json")


def main() -> None:
    """Live one life, end it, keep what is left of it."""
    for folder in (ROOT, KILLED):
        shutil.rmtree(folder, ignore_errors=True)
    ROOT.mkdir()
    for name in ("hash_model.py", "pipeline.yaml"):
        shutil.copy(HERE / name, ROOT)
    with start_brokers(ROOT / "broker") as (broker,):
        topic = NewTopic("fixture", 2, 1, config={"retention.ms": "-1"})
        admin = AdminClient({"bootstrap.servers": broker.servers})  # its answers end with it
        admin.create_topics([topic])["fixture"].result(30)
        feed(broker.servers, range(40), ["raise message", "kill message", "mend message"])
        run(broker.servers, "run", "--until-idle")
        mend(broker.servers)
        feed(broker.servers, range(40, 80), ["slow message"])
        point = f"{ROOT}:receipts.before*4"
        run(broker.servers, "run", ends=-9, STUCK="1", STREAM_INFER_CRASH=point)
        time.sleep(30)  # Ray's processes outlive the service by some seconds; nothing writes any more after that
        shutil.copytree(ROOT, KILLED)
        (KILLED / "answers.json").write_text(json.dumps(answers(broker.servers), indent=1, ensure_ascii=False))
    (ROOT / "broker" / "1" / "data").rename(KILLED / "kafka")
    report()
    pack(HERE / "fixture.tar.xz")


def feed(servers: str, numbers: range, bad: list[str]) -> None:
    """Messages, single files and files of rows, half of them of another day."""
    producer = Producer({"bootstrap.servers": servers})
    for number, text in enumerate([*(f"message {number}" for number in numbers), *bad]):
        moment = JANUARY if number < len(numbers) / 2 else FEBRUARY
        producer.produce("fixture", text.encode(), partition=number % 2, timestamp=moment * 1000)
    producer.flush(30)
    for number in numbers[::4]:
        put(f"notes/{number:02}.txt", f"note {number}", JANUARY if number % 8 else FEBRUARY)
    if numbers.start == 0:
        put("notes/bad.txt", "raise note", JANUARY)
    texts = [*(f"row {number}" for number in numbers[::2]), *(text.replace("message", "row") for text in bad)]
    lines = [json.dumps({"text": text}) for text in texts] + ["{no JSON"] * (numbers.start == 0)
    put(f"rows/{numbers.start:02}.jsonl", "\n".join(lines) + "\n", FEBRUARY)


def put(name: str, content: str, modified: int) -> None:
    """An input file with a time of its own: its version follows from time and size."""
    file = ROOT / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)
    os.utime(file, (modified, modified))


def mend(servers: str) -> None:
    """Replay the one record of the stream that a repaired model takes."""
    listed = json.loads(run(servers, "rejects", more=["list", "--json"]))
    (record,) = (item["record_id"] for item in listed if "mend message" in item["reason"])
    run(servers, "rejects", more=["replay", record])
    run(servers, "run", "--until-idle", MENDED="1")


def run(
    servers: str, name: str, *options: str, more: Sequence[str] = (), ends: int | None = 0, **variables: str
) -> str:
    """Run a command of version 0.1.0, which ends with a status (None: any); what it printed."""
    variables = {**os.environ, "KAFKA": servers, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-c", COMMAND, name, *options, str(ROOT / "pipeline.yaml"), *more]
    done = subprocess.run(command, env=variables, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    assert ends in (None, done.returncode), f"{command} ended with {done.returncode}"
    return done.stdout


def answers(servers: str) -> dict[str, Any]:
    """Everything that version 0.1.0 says of what the kill left."""
    whole = {name: json.loads(run(servers, name, more=["--json"], ends=None)) for name in ("status", "audit")}
    whole["rejects"] = json.loads(run(servers, "rejects", more=["list", "--json"]))
    with sqlite3.connect(ROOT / "ledger.db") as ledger:
        objects = [row[0] for row in ledger.execute("SELECT object_id FROM ledger_objects ORDER BY 1")]
    names = (
        [item["record_id"] for item in whole["rejects"]] + objects + [f"fixture/{n % 2}/{n}" for n in range(0, 42, 5)]
    )
    whole["where"] = {name: json.loads(run(servers, "where", more=[name, "--json"], ends=None)) for name in names}
    return whole


def report() -> None:
    """Print what the kill left, for README.md."""
    copy = Path(shutil.copytree(KILLED, f"{ROOT}.look"))
    with sqlite3.connect(copy / "ledger.db") as ledger:
        for row in ledger.execute("SELECT source, state, count(*), sum(records) FROM ledger_splits GROUP BY 1, 2"):
            print(*row)
        unfinished = ledger.execute("SELECT split_id, source, state FROM ledger_splits WHERE finished_at IS NULL")
        for split_id, source, state in unfinished:
            file = next(copy.glob(f"out/*/{split_id}*"), None)
            print(split_id, source, state, "with a file" if file else "without a file")
    shutil.rmtree(copy)


def pack(archive: Path) -> None:
    """One archive that does not name its maker."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = int(member.mtime)
        return member

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz", preset=9) as tar:
        for name in filter(lambda name: (KILLED / name).exists(), KEPT):
            tar.add(KILLED / name, name, filter=plain)
    archive.write_bytes(buffer.getvalue())
    print(f"{archive}: {archive.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
