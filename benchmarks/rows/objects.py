"""Objects of an S3 store: many small ones, and few large ones."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
from obstore.store import S3Store

from benchmarks import peer
from benchmarks.kit import DIGEST, Kit
from benchmarks.results import Result
from benchmarks.texts import texts

_AT_ONCE = 64


def small(kit: Kit) -> Result:
    """10,000 objects of about half a kilobyte: asyncio loop, service, loop; then the peers."""
    count = 2_000 if kit.quick else 10_000
    _fill(kit, "small", [text.ljust(500)[:500] for text in texts(count)])
    before = count / asyncio.run(_loop(kit, "small", kit.folder / "small.parquet"))
    ran = kit.run_to_end(kit.pipeline("objects", _source(kit, "small", "text"), DIGEST))
    after = count / asyncio.run(_loop(kit, "small", kit.folder / "small.parquet"))
    ours, loop = count / ran.working, (before + after) / 2
    result = Result("objects", "10,000 small S3 objects → hash → Parquet", "objects/s")
    result.bars = {"stream-infer": ours, "asyncio + obstore loop": loop}
    held = "the S3 server takes about half of the CPU of each object and obstore most of the rest: no client gains much here"
    result.ratio("÷ asyncio + obstore loop", ours, loop, 0.80, held)
    for name, wanted in ({} if kit.quick else {"daft": 1.7, "ray_data": 4.0}).items():
        out = str(kit.folder / f"peer-objects-{name}")
        where = (kit.s3.endpoint_url, kit.s3.access_key_id, kit.s3.secret_access_key, "small", str(count), out)
        found = peer.rate(result, name, "objects", *where)
        if found is not None:
            result.bars[name] = found
            result.ratio(f"÷ {name}", ours, found, wanted, held)
    result.notes.append(
        f"{count:,} objects of 500 bytes; {ran.working:.1f} s from ready, {ran.whole:.1f} s the whole command"
    )
    return result


def large(kit: Kit) -> Result:
    """2 GB of objects of 1 to 100 MB through ``format: binary``."""
    sizes = [1, 2, 5, 10, 20, 50, 100] * (1 if kit.quick else 11)
    body = os.urandom(100 * 10**6)
    _fill(kit, "large", [body[: size * 10**6] for size in sizes], workers=2)
    total = sum(sizes) * 10**6
    before = total / asyncio.run(_gets(kit, "large"))
    model = {"kind": "python", "python": "benchmarks.digests:Length"}
    limit = 512 * 2**20
    ran = kit.run_to_end(kit.pipeline("large", _source(kit, "large", "binary"), model, limits={"in_flight": limit}))
    after = total / asyncio.run(_gets(kit, "large"))
    ours, loop = total / ran.working / 1e6, (before + after) / 2e6
    result = Result("large", "Large S3 objects through format: binary", "MB/s")
    result.bars = {"stream-infer": ours, "obstore GET, 16 at once": loop}
    held = (
        "the loop only counts bytes; objects beyond 16 MiB come in parts, and this S3 server copies a part where it hands a whole file "
        "to the kernel (three times its CPU); fresh memory for each object is a tenth of the workers' CPU"
    )
    result.ratio("÷ obstore GET at full concurrency", ours, loop, 0.85, held)
    held = "a split of large objects is held whole"
    result.at_most("peak memory of all processes", ran.peak_bytes / 2**30, limit / 2**30 + 1, "GiB", held)
    result.notes.append(f"{len(sizes)} objects, {total / 1e9:.1f} GB, limits.in_flight 512 MiB")
    return result


def _source(kit: Kit, bucket: str, kind: str) -> dict[str, Any]:
    return {"name": bucket, "kind": "files", "url": f"s3://{bucket}/in/", "storage": kit.s3.storage(), "format": kind}


def _fill(kit: Kit, bucket: str, bodies: list[bytes], workers: int = 16) -> None:
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
    store, gate = _store(kit, bucket), asyncio.Semaphore(_AT_ONCE)

    async def one(key: str) -> tuple[str, str]:
        async with gate:
            body = bytes(await (await store.get_async(key)).bytes_async())
        return key, hashlib.sha256(body).hexdigest()

    keys = [item["path"] for page in obstore.list(store, "in/") for item in page]
    rows = await asyncio.gather(*map(one, keys))
    pq.write_table(pa.table({"key": [key for key, _ in rows], "digest": [digest for _, digest in rows]}), file)
    return time.perf_counter() - started


async def _gets(kit: Kit, bucket: str) -> float:
    started = time.perf_counter()
    store, gate = _store(kit, bucket), asyncio.Semaphore(16)

    async def one(key: str) -> int:
        async with gate:
            return len(await (await store.get_async(key)).bytes_async())

    await asyncio.gather(*(one(item["path"]) for page in obstore.list(store, "in/") for item in page))
    return time.perf_counter() - started
