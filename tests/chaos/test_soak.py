"""The soak: a steady load, a random fault every half minute, a ledger put back from a backup, and slopes at the end."""

from __future__ import annotations

import json
import os
import random
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_infer.ops.parts import PartMissing, S3Server
from tests.chaos.http_proxy import FaultProxy
from tests.chaos.kafka_kit import proxied_broker
from tests.chaos.service_kit import MODEL, Service, World, files_source, in_bucket, living
from tests.chaos.soak_kit import HOLD, Drill, Fault, Faults, Load, Meter
from tests.chaos.watch import of_bucket
from tests.e2e import oracle

MINUTES = float(os.environ.get("STREAM_INFER_SOAK_MINUTES", "60"))
SEED = int(os.environ.get("STREAM_INFER_SOAK_SEED", time.time_ns() % 10**6))
EVERY = 30.0  # seconds from one fault to the next
TOPIC, BUCKET = "soak", "soak"
# The driver lives undisturbed by its own death in the middle of the run, or there were no slope to fit.
BACKUP, KILLS_UNTIL, RESTORE_AT = 0.1, 0.2, 0.75

pytestmark = [pytest.mark.soak, pytest.mark.timeout(int(MINUTES * 60) + 1800)]


def test_soak(s3_server: S3Server, s3_client: Any, tmp_path: Path) -> None:
    dice = random.Random(SEED)
    print(f"\nseed {SEED}, {MINUTES:g} minutes", flush=True)
    s3_client.create_bucket(Bucket=BUCKET)
    proxy = FaultProxy(s3_server.endpoint_url)
    storage = {**s3_server.storage(), "endpoint_url": proxy.url}
    try:
        with proxied_broker(tmp_path / "kafka") as cluster:
            cluster.create(TOPIC, 2)
            settings = {
                "name": "soak",
                "ledger": f"sqlite:///{tmp_path}/ledger.db",
                "sources": [
                    {"name": "stream", "kind": "kafka", "servers": cluster.servers, "topics": [TOPIC]},
                    files_source("inbox", f"s3://{BUCKET}/in/", storage, after="delete"),
                ],
                "model": MODEL,
                "sink": {"url": f"s3://{BUCKET}/out/", "storage": storage},
                "limits": {"freshness": "5s", "attempts": 5},
            }
            service = Service(tmp_path / "service", settings)
            faults = Faults(service, cluster, proxy, s3_server, tmp_path / "ledger.db", dice)
            seen = of_bucket(s3_client, BUCKET, "out/")
            put = in_bucket(s3_client, BUCKET, "in/")
            with living(service, seen, every=3.0, producer=cluster.producer(), put=put) as world:
                report = _run(world, faults, Drill(service, tmp_path / "ledger.db", tmp_path / "older.db"), dice)
                world.expected.update(oracle.expected_of_kafka(cluster.broker.servers, TOPIC))
                world.settled()
                world.audited()
                report |= {"records": len(world.expected), "files": len(world.watch.seen_at), "lost": 0, "twice": 0}
            print(json.dumps(report, indent=1), flush=True)
            (tmp_path / "soak.json").write_text(json.dumps(report, indent=1))
            assert report["ledger_drill"] == {"older_copy_exit_status": 1, "older_copy_refused": True}
    except PartMissing as missing:
        pytest.skip(str(missing))
    finally:
        proxy.close()


def _run(world: World, faults: Faults, drill: Drill, dice: random.Random) -> dict[str, Any]:
    """Run the load and the faults for the given minutes; return the measurements."""
    load, meter = Load(world, TOPIC, per_second=20), Meter(world.service)
    load.start()
    meter.start()
    recoveries: dict[str, list[float]] = defaultdict(list)
    try:
        drilled = _faults(world, faults, drill, dice, recoveries)
    finally:  # what was measured until it failed is worth as much
        meter.halt.set()
        report = _measured(recoveries, meter)
        print(json.dumps(report), flush=True)
        load.stop()
    return {**report, "ledger_drill": drilled}


def _faults(
    world: World, faults: Faults, drill: Drill, dice: random.Random, recoveries: dict[str, list[float]]
) -> dict[str, Any]:
    """Cause one fault after another and time the next commit after each; return the result of the backup drill."""
    fault_by_name = faults.all()
    began, backed_up = time.monotonic(), False
    drilled: dict[str, Any] = {}

    def through() -> float:
        return (time.monotonic() - began) / (MINUTES * 60)

    while through() < 1:
        next_at = time.monotonic() + EVERY
        if through() > BACKUP and not backed_up:
            drill.back_up()
            backed_up = True
        if through() > RESTORE_AT and not drilled:
            drilled = drill.restore()
        kills = through() < KILLS_UNTIL or through() > RESTORE_AT
        name = dice.choice(sorted(fault_by_name) + ["service killed"] * (2 if kills else 0))
        fault: Fault = faults.service_killed if name == "service killed" else fault_by_name[name]
        print(f"{through():6.1%} {name}", flush=True)
        with fault():
            time.sleep(0 if name == "service killed" else dice.uniform(*HOLD))
        recoveries[name].append(_recovered(world))
        assert world.watch.troubles == []
        time.sleep(max(0.0, next_at - time.monotonic()))
    return drilled or drill.restore()


def _measured(recoveries: dict[str, list[float]], meter: Meter) -> dict[str, Any]:
    return {
        "seed": SEED,
        "minutes": round((time.monotonic() - meter.began) / 60, 1),
        "faults": {name: len(times) for name, times in sorted(recoveries.items())},
        "seconds_from_mended_to_next_commit": {name: _spread(times) for name, times in sorted(recoveries.items())},
        "slopes": meter.slopes(warm=min(300.0, MINUTES * 6)),
    }


def _recovered(world: World) -> float:
    """Seconds until more is committed than when the fault was lifted."""
    began = time.monotonic()

    def committed() -> int:
        return int(world.service.status().get("records", {}).get("committed", 0))

    before = committed()
    world.service.until(lambda: committed() > before, "committed again")
    return time.monotonic() - began


def _spread(times: list[float]) -> dict[str, float]:
    return {
        "p50": round(float(np.median(times)), 1),
        "p99": round(float(np.quantile(times, 0.99)), 1),
        "max": round(max(times), 1),
    }
