"""400,000 messages of real text through a cheap model."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Consumer, TopicPartition

from benchmarks import peer
from benchmarks.kit import DIGEST, Kit
from benchmarks.results import Result
from benchmarks.texts import texts

PARTITIONS = 4
_RATIOS = {"quix": 3.0, "spark": 3.0, "ray_data": 4.0, "bytewax": 1.0}


def measure(kit: Kit) -> Result:
    """Loop, fused, loop, three stages, loop; then the peers over the same topic."""
    count = 50_000 if kit.quick else 400_000
    kit.topic("texts", PARTITIONS, texts(count))
    result = Result("kafka", "Kafka, real text → hash → Parquet", "records/s")
    loops = [plain_loop(kit, count)]
    rates = {}
    for stages in ("fused", "three"):
        ran = kit.run_to_end(kit.pipeline(f"kafka-{stages}", kit.kafka_source("texts"), DIGEST, stages=stages))
        rates[stages] = count / ran.working
        result.notes.append(f"{stages}: {ran.working:.1f} s from ready, {ran.whole:.1f} s the whole command")
        loops.append(plain_loop(kit, count))
    loop = sum(loops) / len(loops)
    result.bars = {"stream-infer, fused": rates["fused"], "stream-infer, three stages": rates["three"]}
    result.bars["one-process loop, no guarantees"] = loop
    held = "driver and broker share the 2 cores with the workers, and the first splits are small probes"
    result.ratio("fused ÷ loop", rates["fused"], loop, 1.3, held)
    result.ratio("three stages ÷ loop", rates["three"], loop, 0.85, "two hand-overs a split")
    for name, wanted in ({} if kit.quick else _RATIOS).items():
        found = peer.rate(result, name, kit.broker.servers, "texts", str(count), str(kit.folder / f"peer-{name}"))
        if found is not None:
            result.bars[name] = found
            result.ratio(f"fused ÷ {name}", rates["fused"], found, wanted, held)
    result.notes.append(f"{count:,} texts of at most 2,000 bytes in {PARTITIONS} partitions; loops: {_shown(loops)}")
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


def _shown(rates: list[float]) -> str:
    return ", ".join(f"{rate:,.0f}/s" for rate in rates)
