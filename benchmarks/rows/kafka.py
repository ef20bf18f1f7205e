"""400,000 messages of real text through a cheap model."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Consumer, TopicPartition

from benchmarks import peer
from benchmarks.kit import DIGEST, Kit
from benchmarks.results import Result
from benchmarks.texts import texts
from benchmarks.turns import by_turns

PARTITIONS = 4
_FUSED, _THREE, _LOOP = "stream-infer, fused", "stream-infer, three stages", "one-process loop, no guarantees"
_PEERS = {"quix": 3.0, "spark": 3.0, "ray_data": 4.0, "bytewax": 1.0}


def measure(kit: Kit) -> Result:
    """Fused, three stages, loop and peers by turns, all over one topic."""
    count, turns = (50_000, 1) if kit.quick else (400_000, 3)
    kit.topic("texts", PARTITIONS, texts(count))
    result = Result("kafka", "Kafka, real text → hash → Parquet", "records/s")

    def ours(stages: str, turn: int) -> float:
        file = kit.pipeline(f"{stages}-{turn}", kit.kafka_source("texts"), DIGEST, stages=stages)
        return count / kit.run_to_end(file).working

    def theirs(name: str, turn: int) -> float | None:
        out = str(kit.folder / f"peer-{name}-{turn}")
        return peer.rate(result, name, kit.broker.servers, "texts", str(count), out)

    peers = {name: partial(theirs, name) for name in ({} if kit.quick else _PEERS)}
    own: dict[str, Callable[[int], float | None]] = {
        _FUSED: partial(ours, "fused"),
        _THREE: partial(ours, "three"),
        _LOOP: lambda _: plain_loop(kit, count),
    }
    rates = by_turns(turns, {**own, **peers})
    result.add_rates(rates)
    limit = (
        "the first splits are small probes, and the second worker still starts while the first has begun: that weighs much in two "
        "seconds (row telemetry has four times as many texts and a higher rate)"
    )
    result.add_ratio_by_turns("fused ÷ loop", rates[_FUSED], rates[_LOOP], 1.3, limit)
    result.add_ratio_by_turns("three stages ÷ loop", rates[_THREE], rates[_LOOP], 0.85, "two hand-overs a split")
    for name in peers:
        if name in rates:
            result.add_ratio_by_turns(f"fused ÷ {name}", rates[_FUSED], rates[name], _PEERS[name], limit)
    result.notes.append(f"{count:,} texts of at most 2,000 bytes in {PARTITIONS} partitions")
    return result


def plain_loop(kit: Kit, count: int) -> float:
    """Records per second of one process that reads, hashes and writes files of 20,000 rows; keeps nothing safe."""
    folder = kit.folder / "loop"
    folder.mkdir(exist_ok=True)
    started = time.perf_counter()
    done = 0
    for number, table in enumerate(_tables(kit.broker.servers, count)):
        pq.write_table(table, folder / f"{number}.parquet", compression="zstd")
        done += table.num_rows
    assert done == count
    return done / (time.perf_counter() - started)


def _tables(servers: str, count: int) -> Iterator[pa.Table]:
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "loop"})
    consumer.assign([TopicPartition("texts", number, 0) for number in range(PARTITIONS)])
    left, names, digests = count, [], []
    while left:
        for message in consumer.consume(1000, 0.05):
            names.append(f"texts/{message.partition()}/{message.offset()}")
            digests.append(hashlib.sha256(message.value().decode().encode()).hexdigest())
        if len(names) >= 20_000 or len(names) == left:
            yield pa.table({"record_id": names, "digest": digests})
            left -= len(names)
            names, digests = [], []
    consumer.close()
