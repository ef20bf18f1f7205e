"""Every reader passes the suite of readers, and the suite catches a reader that breaks a promise."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from confluent_kafka import Producer

from stream_infer import config
from stream_infer.connectors.files.settings import FilesSettings
from stream_infer.connectors.files.source import FilesSource
from stream_infer.connectors.kafka.settings import KafkaSettings
from stream_infer.connectors.kafka.source import KafkaSource
from stream_infer.contracts import Piece, PlanBudget, Source
from stream_infer.splits import Split
from stream_infer.testing import CheckedSplit, MemoryPosition, NumbersReader, NumbersSource, check_reader

NOW = 1_800_000_000.0
BUDGET = PlanBudget(splits=1, records=100, bytes=2**30, freshness=0.0, now=NOW)


def case_of(source: Source, record_ids: list[str] | None = None) -> CheckedSplit:
    """The one split that a source plans, with its halves."""
    splits = [part.split for part in source.plan(MemoryPosition(), BUDGET) if part.split is not None]
    (split,) = splits
    return CheckedSplit(source.reader(), split, record_ids or [], split.halves(len(record_ids or ())) or ())


def of_folder(folder: Path, kind: str = "auto") -> FilesSource:
    """A source of a folder whose files do not change any more."""
    settings = FilesSettings(name="s", kind="files", url=f"file://{folder}/", format=kind)
    return FilesSource.from_config(settings, pipeline="p", limits=config.Limits())


def put(folder: Path, **contents: str) -> dict[str, str]:
    """Write files; return the start of the coordinates by name."""
    ids = {}
    for name, content in contents.items():
        file = folder / name.replace("__", ".")
        file.write_text(content)
        os.utime(file, (NOW - 3600, NOW - 3600))
        status = file.stat()
        ids[name] = f"file://{file}?version={status.st_mtime_ns:x}-{status.st_size:x}#"
    return ids


def test_objects_of_one_record_pass_the_suite_of_readers(tmp_path: Path) -> None:
    ids = put(tmp_path, a="first", b="second", c="third")
    check_reader(lambda: case_of(of_folder(tmp_path, "text"), [f"{start}0" for start in ids.values()]))


def test_objects_of_many_rows_pass_the_suite_of_readers(tmp_path: Path) -> None:
    ids = put(tmp_path, a__jsonl='{"a": 1}\n{no JSON\n{"a": 3}\n')
    check_reader(lambda: case_of(of_folder(tmp_path), [f"{ids['a__jsonl']}{row}" for row in range(3)]))


def test_messages_pass_the_suite_of_readers(kafka: str, kafka_topic: Callable[..., str]) -> None:
    topic = kafka_topic()
    producer = Producer({"bootstrap.servers": kafka})
    for number in range(10):
        producer.produce(topic, b"\xff\xfe" if number == 3 else f"message {number}".encode(), partition=0)
    assert producer.flush(30) == 0
    settings = KafkaSettings(name="s", kind="kafka", servers=kafka, topics=[topic])

    def make() -> CheckedSplit:
        source = KafkaSource.from_config(settings, pipeline="p", limits=config.Limits())
        case = case_of(source)
        source.close()
        cluster = case.split.bounds["cluster"]
        return replace(case, record_ids=[f"kafka://{cluster}/{topic}/0/{offset}" for offset in range(10)])

    check_reader(make)


def _numbers(reader: NumbersReader) -> CheckedSplit:
    case = case_of(NumbersSource("s", 10))
    return replace(case, reader=reader, record_ids=[f"numbers/{number}" for number in range(10)])


def test_numbers_pass_the_suite_of_readers() -> None:
    check_reader(lambda: _numbers(NumbersReader()))


class _Losing(NumbersReader):
    """A reader that leaves the last record out."""

    def read(self, split: Split) -> Iterator[Piece]:
        for piece in super().read(split):
            yield replace(piece, table=piece.table.slice(0, piece.table.num_rows - 1))


class _Repeating(NumbersReader):
    """A reader that yields everything twice."""

    def read(self, split: Split) -> Iterator[Piece]:
        yield from super().read(split)
        yield from super().read(split)


class _Consuming(NumbersReader):
    """A reader that does not read a split a second time."""

    def __init__(self) -> None:
        self._read: set[str] = set()

    def read(self, split: Split) -> Iterator[Piece]:
        if split.split_id not in self._read:
            self._read.add(split.split_id)
            yield from super().read(split)


class _Nameless(NumbersReader):
    """A reader with the content columns before the provenance."""

    def read(self, split: Split) -> Iterator[Piece]:
        for piece in super().read(split):
            names = piece.table.column_names
            yield replace(piece, table=piece.table.select([names[-1], *names[:-1]]))


class _Overreading(NumbersReader):
    """A reader that reads on behind the end of a split."""

    def read(self, split: Split) -> Iterator[Piece]:
        yield from super().read(replace(split, bounds={**split.bounds, "stop": split.bounds["stop"] + 1}))


class _Uncounted(NumbersReader):
    """A reader that does not count its records."""

    def read(self, split: Split) -> Iterator[Piece]:
        for piece in super().read(split):
            yield replace(piece, bytes=0)


class _Foreign(NumbersReader):
    """A reader whose records name another source."""

    def read(self, split: Split) -> Iterator[Piece]:
        for piece in super().read(split):
            column = pa.array(["other"] * piece.table.num_rows)
            yield replace(piece, table=piece.table.set_column(1, "source", column))


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (_Losing, "leaves out"),
        (_Repeating, "twice"),
        (_Consuming, "reads something else|reads less"),
        (_Nameless, "does not start with"),
        (_Overreading, "which is not of the split"),
        (_Uncounted, "counts nothing"),
        (_Foreign, "source is not the split's"),
    ],
)
def test_a_broken_reader_is_caught(broken: type[NumbersReader], sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_reader(lambda: _numbers(broken()))
