"""Every source passes the suite of sources, and the suite catches a source that breaks a promise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer

from stream_infer import config
from stream_infer.connectors.files.settings import FilesSettings
from stream_infer.connectors.files.source import FilesSource
from stream_infer.connectors.kafka.settings import KafkaSettings
from stream_infer.connectors.kafka.source import KafkaSource
from stream_infer.contracts import Lag, PlanBudget, Planned, Position, SourceStatus
from stream_infer.errors import Retryable
from stream_infer.splits import Split
from stream_infer.testing import CheckedSource, NumbersSource, check_source
from tests.contracts.test_reader_contract import NOW, of_folder, put


def test_a_folder_passes_the_suite_of_sources(tmp_path: Path) -> None:
    ids = put(tmp_path, **{f"n{number}": f"text {number}" for number in range(9)})
    check_source(
        lambda: CheckedSource(lambda: of_folder(tmp_path, "text"), [f"{start}0" for start in ids.values()], NOW)
    )


def test_objects_of_a_bucket_pass_the_suite_of_sources(
    s3: config.Storage, s3_client: object, s3_bucket: Callable[[], str]
) -> None:
    bucket, ids = s3_bucket(), []
    for number in range(9):
        answer = s3_client.put_object(Bucket=bucket, Key=f"in/{number}", Body=f"text {number}".encode())  # type: ignore[attr-defined]
        ids.append(f"s3://{bucket}/in/{number}?version={answer['ETag'].strip(chr(34))}#0")
    settings = FilesSettings(name="s", kind="files", url=f"s3://{bucket}/in/", storage=s3, format="text")
    check_source(
        lambda: CheckedSource(lambda: FilesSource.from_config(settings, pipeline="p", limits=config.Limits()), ids, NOW)
    )


def test_a_topic_passes_the_suite_of_sources(kafka: str, kafka_topic: Callable[..., str]) -> None:
    topic = kafka_topic(2)
    producer = Producer({"bootstrap.servers": kafka})
    for number in range(20):
        producer.produce(topic, f"message {number}".encode(), partition=number % 2)
    assert producer.flush(30) == 0
    settings = KafkaSettings(name="s", kind="kafka", servers=kafka, topics=[topic])

    def open_source() -> KafkaSource:
        return KafkaSource.from_config(settings, pipeline="p", limits=config.Limits())

    probe = open_source()
    cluster = probe._cluster.id
    probe.close()
    ids = [f"kafka://{cluster}/{topic}/{number % 2}/{number // 2}" for number in range(20)]
    check_source(lambda: CheckedSource(open_source, ids, NOW))


def _numbers(source: type[NumbersSource]) -> CheckedSource:
    return CheckedSource(lambda: source("s", 25), [f"numbers/{number}" for number in range(25)], NOW)


def test_numbers_pass_the_suite_of_sources() -> None:
    check_source(lambda: _numbers(NumbersSource))


class _Changed(NumbersSource):
    """A source of numbers whose plan is changed."""

    def plan(self, position: Position, budget: PlanBudget) -> Iterator[Planned]:
        for part in super().plan(position, budget):
            assert part.split is not None
            yield self.changed(part, part.split)

    def changed(self, part: Planned, split: Split) -> Planned:
        return part


class _Leaping(_Changed):
    """A source that moves its position past a number that is in no split."""

    def changed(self, part: Planned, split: Split) -> Planned:
        return replace(part, positions={"n": part.positions["n"] + 1})


class _Lingering(_Changed):
    """A source that moves its position too little."""

    def changed(self, part: Planned, split: Split) -> Planned:
        return replace(part, positions={"n": part.positions["n"] - (part.positions["n"] == 25)})


class _Random(_Changed):
    """A source with random split ids."""

    count = 0

    def changed(self, part: Planned, split: Split) -> Planned:
        _Random.count += 1
        return replace(part, split=replace(split, split_id=f"{_Random.count:032x}"))


class _Excessive(NumbersSource):
    """A source that plans more than the budget."""

    def plan(self, position: Position, budget: PlanBudget) -> Iterator[Planned]:
        return super().plan(position, replace(budget, splits=budget.splits + 1))


class _Deaf(NumbersSource):
    """A source whose wait does not end early."""

    def wake(self) -> None:
        return


class _Once(NumbersSource):
    """A source that fails when it is closed a second time."""

    closed = False

    def close(self) -> None:
        if self.closed:
            raise Retryable("closed already")
        self.closed = True


class _Behind(NumbersSource):
    """A source that always reports waiting records."""

    def status(self, committed_offsets: Mapping[str, int]) -> SourceStatus:
        return SourceStatus(Lag(records=1))


class _Unfoldered(_Changed):
    """A source that plans splits without a folder."""

    def changed(self, part: Planned, split: Split) -> Planned:
        return replace(part, split=replace(split, folder=""))


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (_Leaping, "never planned"),
        (_Lingering, "still gives new work|in two splits"),
        (_Random, "another split_id|does not follow"),
        (_Excessive, "although the budget has"),
        (_Behind, "still shows waiting"),
        (_Unfoldered, "no folder"),
    ],
)
def test_a_broken_source_is_caught(broken: type[NumbersSource], sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_source(lambda: _numbers(broken))


def test_a_source_that_cannot_be_closed_twice_is_caught() -> None:
    with pytest.raises(Retryable, match="closed already"):
        check_source(lambda: _numbers(_Once))


def test_a_source_that_does_not_wake_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_infer.testing.source._PATIENCE", 0.2)
    with pytest.raises(AssertionError, match="does not end a wait"):
        check_source(lambda: _numbers(_Deaf))
