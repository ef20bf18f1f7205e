"""The pipeline file of a case."""

from __future__ import annotations

from typing import Any

from stream_infer import config
from tests.simulation.sim_case import Case

TOPIC = "t"
ATTEMPTS = 2
LARGEST = 500  # bytes of a record


def settings_of(case: Case, ledger: str) -> config.PipelineSettings:
    """The pipeline file of a case."""
    setup = case.setup
    sources: list[dict[str, Any]] = []
    if setup["partitions"]:
        more: dict[str, Any] = {"on_recreated": "adopt", "on_expired": "skip"}
        sources.append({"name": "stream", "kind": "kafka", "servers": "sim:1", "topics": [TOPIC], **more})
    if setup["files"]:
        events = {"events": {"sqs": {"queue_url": "sim"}}, "backfill": 8.0} if setup["events"] else {}
        discover = {"poll": 2.0, **events}
        more = {"format": "jsonl", "after": setup["after"], "discover": discover}
        sources.append({"name": "inbox", "kind": "files", "url": "s3://in/", **more})
    return config.PipelineSettings.model_validate(
        {
            "name": "sim",
            "ledger": ledger,
            "sources": sources,
            "model": {"kind": "python", "python": "sim:Model", "replicas": {"min": 1, "max": setup["actors"]}},
            "sink": {"kind": "parquet", "url": "s3://out/results/", "partition": setup["date_by"]},
            "stages": setup["stages"],
            "limits": {
                "attempts": ATTEMPTS,
                "split_timeout": 45.0,
                "record_bytes": LARGEST,
                "freshness": setup["freshness"],
                "idle_after": setup["idle_after"],
                "split_records": setup["split_records"],
                "execution_splits": setup["execution_splits"],
            },
        }
    )
