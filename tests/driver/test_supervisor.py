"""The supervisor with a failing model and a failing sink, on a local Ray."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from stream_infer.builders import build_model
from stream_infer.config import PipelineSettings, parse
from stream_infer.driver.supervisor import Parts, Supervisor
from stream_infer.errors import Fatal
from stream_infer.execution.cluster import connect
from stream_infer.execution.execution import RayExecution
from stream_infer.execution.pools import plan_pools
from stream_infer.ledger import Ledger
from stream_infer.stages import Capacity, model_demand
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metrics import Metrics
from stream_infer.testing import FolderSink, NumbersSource
from stream_infer.worker.stages import InferStage, ReadStage, WriteStage

HERE = str(Path(__file__).parent)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Capacity]:
    os.environ["PYTHONPATH"] = os.pathsep.join([HERE, str(Path(HERE).parents[1])])
    yield connect()
    ray.shutdown()


def _settings(folder: Path, stages: str, limits: dict[str, Any] | None = None, **options: Any) -> PipelineSettings:
    return parse(
        {
            "name": "numbers",
            "ledger": f"sqlite:///{folder}/ledger.db",
            "sources": [{"name": "numbers", "kind": "files", "url": str(folder)}],
            "model": {"kind": "python", "python": "numbers_kit:Moody", "options": options},
            "sink": {"url": str(folder / "out")},
            "stages": stages,
            "limits": {"attempts": 2, "freshness": 0, "idle_after": 2, **(limits or {})},
        }
    )


def _supervisor(
    settings: PipelineSettings, source: NumbersSource, folder: Path, cluster: Capacity, until_idle: bool
) -> tuple[Supervisor, Ledger, FolderSink]:
    sink, model = FolderSink(folder / "out"), build_model(settings.model)
    ledger = Ledger.open(settings.ledger, {})
    ledger.acquire("test")
    stages = (
        ReadStage({"numbers": source.reader()}, None, [model], (), (HERE,), 2**30),
        InferStage(model, settings.model.batch, [], model_demand(settings.model, None)),
        WriteStage(sink),
    )
    pools = plan_pools(stages, cluster, settings.stages)
    parts = Parts(
        settings,
        ledger,
        [source],
        sink,
        pools,
        lambda number, outcomes: RayExecution(number, pools, settings.limits.attempts, outcomes),
        Metrics(),
        until_idle=until_idle,
    )
    return Supervisor(parts), ledger, sink


@pytest.mark.parametrize("stages", ["fused", "three"])
def test_bad_records_are_rejected_and_their_neighbours_delivered(
    tmp_path: Path, cluster: Capacity, stages: str
) -> None:
    source = NumbersSource("numbers", 100)
    settings = _settings(tmp_path, stages, raising=[7], killing=[33], hungry=[58])
    supervisor, ledger, sink = _supervisor(settings, source, tmp_path, cluster, until_idle=True)
    supervisor.run()
    assert sorted(sink.record_ids()) == sorted(
        f"numbers/{number}" for number in range(100) if number not in (7, 33, 58)
    )
    assert {reject.record_id: reject.error for reject in ledger.rejects()} == {
        "numbers/7": "moody",
        "numbers/33": "WorkerDied",
        "numbers/58": "MemoryError",
    }
    assert source.committed_offsets == {"n": 100}
    assert supervisor.state == "stopped"


def test_a_record_that_hangs_is_rejected_and_its_neighbours_delivered(tmp_path: Path, cluster: Capacity) -> None:
    settings = _settings(tmp_path, "fused", {"split_timeout": 3, "attempts": 1}, hanging=[33])
    supervisor, ledger, sink = _supervisor(settings, NumbersSource("numbers", 60), tmp_path, cluster, until_idle=True)
    supervisor.run()
    assert sorted(sink.record_ids()) == sorted(f"numbers/{number}" for number in range(60) if number != 33)
    (reject,) = ledger.rejects()
    assert (reject.record_id, reject.stage, reject.error) == ("numbers/33", "infer", "WorkerHung")
    assert reject.reason.startswith("hung for 3 s in infer")


@pytest.mark.parametrize("mood", ["raising", pytest.param("killing", marks=pytest.mark.chaos)])
def test_the_circuit_breaker_stops_the_line_and_a_repaired_model_does_what_was_held_back(
    tmp_path: Path, cluster: Capacity, mood: str
) -> None:
    limits = {"attempts": 1, "circuit_breaker": {"records": 20, "splits": 3}}
    source, numbers = NumbersSource("numbers", 120), list(range(120))
    settings = _settings(tmp_path, "fused", limits, **{mood: numbers})
    broken, ledger, sink = _supervisor(settings, source, tmp_path, cluster, until_idle=True)
    with pytest.raises(Fatal, match=r"everything fails, so the circuit breaker is open.*limits\.circuit_breaker: null"):
        broken.run()
    counts = ledger.audit()
    assert counts["rejected"] <= 20
    assert counts["in_flight"] > 0
    assert sink.record_ids() == []
    assert {split.attempt for split in ledger.unfinished()} == {0}
    ledger.close()
    repaired, ledger, sink = _supervisor(_settings(tmp_path, "fused"), source, tmp_path, cluster, until_idle=True)
    repaired.run()
    rejected = {reject.record_id for reject in ledger.rejects()}
    assert len(rejected) == counts["rejected"]
    assert sorted([*sink.record_ids(), *rejected]) == sorted(f"numbers/{number}" for number in numbers)


def test_a_line_that_stands_can_be_seen_until_it_is_told_to_end(tmp_path: Path, cluster: Capacity) -> None:
    settings = _settings(
        tmp_path, "fused", {"attempts": 1, "circuit_breaker": {"records": 20}}, raising=list(range(120))
    )
    source = NumbersSource("numbers", 120)
    supervisor, _, _ = _supervisor(settings, source, tmp_path, cluster, until_idle=False)
    messages: list[str] = []

    def run() -> None:
        try:
            supervisor.run()
        except Fatal as error:
            messages.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    _until(lambda: supervisor.state == "stopped")
    thread.join(2.0)
    assert thread.is_alive()
    assert supervisor.status()["circuit_breaker"]
    assert supervisor.metrics.value(m.CIRCUIT_BREAKER_OPEN) == 1
    supervisor.stop()
    thread.join(30)
    assert "everything fails" in messages[0]


def test_an_outage_of_the_sink_is_waited_out_and_an_idle_execution_released(tmp_path: Path, cluster: Capacity) -> None:
    source = NumbersSource("numbers", 0)
    supervisor, ledger, sink = _supervisor(_settings(tmp_path, "fused"), source, tmp_path, cluster, until_idle=False)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "outage").touch()
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        _until(lambda: supervisor.state == "ready")
        source.add(30)
        _until(lambda: ledger.audit()["in_flight"] == 30)
        assert ledger.audit()["committed"] == 0
        (tmp_path / "out" / "outage").unlink()
        _until(lambda: ledger.audit()["committed"] == 30)
        _until(lambda: supervisor.state == "resting")
        source.add(5)
        _until(lambda: ledger.audit()["committed"] == 35)
    finally:
        supervisor.stop()
        thread.join(60)
    assert not thread.is_alive()
    assert len(set(sink.record_ids())) == len(sink.record_ids()) == 35


def _until(condition: Any, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
