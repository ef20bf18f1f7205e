"""Objects of an S3 store: many small ones, and few large ones."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
from obstore.store import S3Store

from benchmarks import peer
from benchmarks.kit import DIGEST, Kit
from benchmarks.results import OURS, Result
from benchmarks.texts import texts
from benchmarks.turns import by_turns

_AT_ONCE = 64
_PEERS = {"daft": 1.7, "ray_data": 4.0}


def small(kit: Kit) -> Result:
    """10,000 objects of about half a kilobyte: service, asyncio loop and peers by turns."""
    count, turns = (2_000, 1) if kit.quick else (10_000, 3)
    fill(kit, "small", [text.ljust(500)[:500] for text in texts(count)])
    result = Result("objects", "10,000 small S3 objects → hash → Parquet", "objects/s")

    def ours(turn: int) -> float:
        return count / kit.run_to_end(kit.pipeline(f"objects-{turn}", source(kit, "small", "text"), DIGEST)).working

    def theirs(name: str, turn: int) -> float | None:
        store = (kit.s3.endpoint_url, kit.s3.access_key_id, kit.s3.secret_access_key, "small", str(count))
        return peer.rate(result, name, "objects", *store, str(kit.folder / f"peer-{name}-{turn}"))

    peers = {name: partial(theirs, name) for name in ({} if kit.quick else _PEERS)}
    loop = "asyncio + obstore loop"
    own = {OURS: ours, loop: lambda _: count / asyncio.run(_loop(kit, "small", kit.folder / "small.parquet"))}
    rates = by_turns(turns, {**own, **peers})
    result.add_rates(rates)
    limit = "the S3 server takes about half of the CPU of each object and obstore most of the rest: no client gains much here"
    result.add_ratio_by_turns(f"÷ {loop}", rates[OURS], rates[loop], 0.80, limit)
    for name in peers:
        if name in rates:
            result.add_ratio_by_turns(f"÷ {name}", rates[OURS], rates[name], _PEERS[name], limit)
    result.notes.append(f"{count:,} objects of 500 bytes")
    return result


def large(kit: Kit) -> Result:
    """2 GB of objects of 1 to 100 MB through ``format: binary``: service and plain GETs by turns."""
    sizes = [1, 2, 5, 10, 20, 50, 100] * (1 if kit.quick else 11)
    body = os.urandom(100 * 10**6)
    fill(kit, "large", [body[: size * 10**6] for size in sizes], workers=2)
    total = sum(sizes)
    memory_limit = 512 * 2**20
    result = Result("large", "Large S3 objects through format: binary", "MB/s")
    peaks = []

    def ours(turn: int) -> float:
        model = {"kind": "python", "python": "benchmarks.digests:Length"}
        ran = kit.run_to_end(
            kit.pipeline(f"large-{turn}", source(kit, "large", "binary"), model, limits={"in_flight": memory_limit})
        )
        peaks.append(ran.peak_bytes / 2**30)
        return total / ran.working

    gets = "obstore GET, 16 at once"
    rates = by_turns(1 if kit.quick else 3, {OURS: ours, gets: lambda _: total / asyncio.run(_gets(kit, "large"))})
    result.add_rates(rates)
    limit = (
        "the loop only counts bytes; driver, attempt tracker and Ray's own processes take a sixth of the CPU, and the second worker still "
        "starts while the first has begun: both weigh much in two seconds"
    )
    result.add_ratio_by_turns("÷ obstore GET at full concurrency", rates[OURS], rates[gets], 0.85, limit)
    limit = "a split of large objects is in memory as a whole"
    result.add_at_most("peak memory of all processes", max(peaks), memory_limit / 2**30 + 1, "GiB", limit)
    result.notes.append(f"{len(sizes)} objects, {total / 1e3:.1f} GB, limits.in_flight 512 MiB")
    return result


def source(kit: Kit, bucket: str, kind: str) -> dict[str, Any]:
    """The settings of a source of the bucket's objects, in format ``kind``."""
    return {"name": bucket, "kind": "files", "url": f"s3://{bucket}/in/", "storage": kit.s3.storage(), "format": kind}


def fill(kit: Kit, bucket: str, bodies: list[bytes], workers: int = 16) -> None:
    """Make the bucket and one object of each body in it."""
    client = kit.s3.client()
    client.create_bucket(Bucket=bucket)
    with ThreadPoolExecutor(workers) as pool:
        keys = (f"in/{number:06d}.txt" for number in range(len(bodies)))
        list(pool.map(lambda key, body: client.put_object(Bucket=bucket, Key=key, Body=body), keys, bodies))


def _store(kit: Kit, bucket: str) -> S3Store:
    return S3Store(
        bucket,
        endpoint=kit.s3.endpoint_url,
        access_key_id=kit.s3.access_key_id,
        secret_access_key=kit.s3.secret_access_key,
        region="us-east-1",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )


async def _loop(kit: Kit, bucket: str, file: Path) -> float:
    started = time.perf_counter()
    store, slots = _store(kit, bucket), asyncio.Semaphore(_AT_ONCE)

    async def one(key: str) -> tuple[str, str]:
        async with slots:
            body = bytes(await (await store.get_async(key)).bytes_async())
        return key, hashlib.sha256(body).hexdigest()

    keys = [item["path"] for page in obstore.list(store, "in/") for item in page]
    rows = await asyncio.gather(*map(one, keys))
    pq.write_table(pa.table({"key": [key for key, _ in rows], "digest": [digest for _, digest in rows]}), file)
    return time.perf_counter() - started


async def _gets(kit: Kit, bucket: str) -> float:
    started = time.perf_counter()
    store, slots = _store(kit, bucket), asyncio.Semaphore(16)

    async def one(key: str) -> int:
        async with slots:
            return len(await (await store.get_async(key)).bytes_async())

    await asyncio.gather(*(one(item["path"]) for page in obstore.list(store, "in/") for item in page))
    return time.perf_counter() - started
