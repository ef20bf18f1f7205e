"""The real service under load and a real Prometheus: every expression is answered, and every alert is made to fire.

Windows and waits of the rules are a twentieth of the committed ones (see `APART`). The summary is printed:
``pytest -s -m chaos tests/grafana/test_answers.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from grafana import rules
from stream_infer.ops.parts import PartMissing, S3Server, start_prometheus, start_toxiproxy
from stream_infer.telemetry.gpu import Gpus
from tests.grafana import grafana_kit as kit
from tests.grafana import proof_kit
from tests.grafana.proof_kit import Proof, until
from tests.grafana.troubled_service import PARTITIONS, Inputs, Troubled, troubled
from tests.telemetry.otlp_kit import Receiver

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]

TIMES = 20
# how long a start of the service or of a worker takes is the machine's affair
APART = {"StreamInferRestarts": 3, "StreamInferWorkersDie": 3}
RULES = rules.accelerated(TIMES, divisors=APART)
EVERYTHING = [*proof_kit.of_panels(), *proof_kit.of_records(), *proof_kit.of_alerts()]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def it(
    kafka: str,
    kafka_topic: Callable[..., str],
    s3_server: S3Server,
    s3_client: Any,
    receiver: Receiver,
    ray_cluster: str,
    tmp_path: Path,
) -> Iterator[Troubled]:
    with ExitStack() as stack:
        try:
            proxies = stack.enter_context(start_toxiproxy(tmp_path / "proxies"))
        except PartMissing as missing:
            pytest.skip(str(missing))
        proxy = proxies.proxy("s3", int(s3_server.endpoint_url.rpartition(":")[2]))
        topic = kafka_topic(partitions=PARTITIONS)
        inputs = Inputs(kafka, topic, s3_client, s3_server.storage(), proxy)
        service = troubled(tmp_path, inputs, receiver.url, ray_cluster)
        yield stack.enter_context(service)


@pytest.fixture
def proof(it: Troubled, tmp_path: Path) -> Iterator[Proof]:
    try:
        address = it.service.url.removeprefix("http://")
        with start_prometheus(tmp_path / "prometheus", {"stream-infer": [address]}, RULES) as started:
            yield Proof(started)
    except PartMissing as missing:
        pytest.skip(str(missing))


def test_every_expression_is_answered_and_every_alert_fires(it: Troubled, proof: Proof, receiver: Receiver) -> None:
    def fires(*names: str) -> None:
        proof.until_fired(*names, lives=lambda: it.service.alive)

    _is_well(it, proof, receiver)
    print(f"\n{proof.report()}", flush=True)
    with it.spoilt_messages(), it.the("miscounting"):
        fires("FreshnessBurnsFast", "FreshnessBurnsSlowly", "Rejects", "ConservationBroken")
    with it.store_flapping():
        fires("DependencyErrors")
    it.load.kill()
    fires("WorkersDie")
    with it.locked_ledger():
        fires("LedgerSlow")
    with it.store_away(), it.the("hanging"):
        fires("SourceDown", "SourceStalled", "PartitionStalled")
        grows = "sum(stream_infer_lag_records) > sum(stream_infer_lag_records offset 20s) + 100"
        until(lambda: proof.prometheus.query(grows), "the lag of a line that stands is known", 60)
        it.expire()
    fires("RecordsLost")
    with it.the("failing"):
        proof.until_fired("CircuitBreakerOpen")
        assert it.service.stop() == 1
    with it.the("unloadable"):
        while "StreamInferRestarts" not in proof.fired:
            _starts_anew(it, proof)
        it.service.start(ready=False)
        fires("NotReady")
    it.service.kill()
    proof.until_fired("Down", "Absent")
    print(f"\n{proof.report()}")
    assert proof.fired.keys() == proof_kit.NAMES


def _is_well(it: Troubled, proof: Proof, receiver: Receiver) -> None:
    """Everything is answered while nothing is wrong."""
    if not Gpus().read():
        gpu = [location for location, expr in EVERYTHING if "stream_infer_gpu_" in expr]
        proof.excused |= dict.fromkeys(gpu, "needs a GPU, and there is none here")

    def answered() -> bool:
        proof.ask(EVERYTHING)
        return not proof.silent()

    until(answered, "answers", 300, lambda: str(proof.silent()))
    assert proof.returning.isdisjoint(proof.excused)
    assert [rule for rule in proof.prometheus.rules() if rule["health"] != "ok"] == []
    checked = kit.promtool("check", "metrics", text=it.service.get("/metrics"))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    traces = {example["labels"]["trace_id"] for example in proof.prometheus.exemplars(kit.EXEMPLARS)}
    assert traces
    until(lambda: traces & {span.trace_id.hex() for span in receiver.spans()}, "a span of an exemplar", 60)
    proof.look()
    assert proof.fired == {}, "nothing is wrong yet"


def _starts_anew(it: Troubled, proof: Proof) -> None:
    """A start that Prometheus sees, and its end."""
    it.service.start(ready=False)
    it.service.until(lambda: it.service.metric("stream_infer_start_time_seconds") > 0, "exporting")
    at = it.service.metric("stream_infer_start_time_seconds")
    until(lambda: proof.prometheus.query(f"stream_infer_start_time_seconds == {at!r}"), "a start is seen", 60)
    it.service.kill()
    proof.look()
