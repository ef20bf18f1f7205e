"""A Kafka broker of one node (KRaft): from Docker, else from Maven Central with the machine's Java."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from ops.parts.process import PartMissing, cache_folder, docker_answers, free_port, locked, server

_IMAGE = "apache/kafka:4.1.0"
_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
num.partitions=1
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=8388608
"""
_LOGGING = """
status=error
appender.c.type=Console
appender.c.name=C
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=[%d] %p %m (%c)%n
rootLogger.level=warn
rootLogger.appenderRef.c.ref=C
"""


@dataclass(frozen=True, slots=True)
class Broker:
    """A running broker.

    Attributes:
        kind: ``docker`` or ``java``.
    """

    servers: str
    kind: str


@contextlib.contextmanager
def start_kafka(folder: Path) -> Iterator[Broker]:
    """Run a broker while the block runs; its data lies in ``folder``.

    Raises:
        PartMissing: neither Docker nor Java with Maven is here.
    """
    if docker_answers():
        from testcontainers.kafka import KafkaContainer

        with KafkaContainer(_IMAGE).with_kraft() as container:
            yield Broker(container.get_bootstrap_server(), "docker")
        return
    libraries = _libraries()
    port, controller = free_port(), free_port()
    folder.mkdir(parents=True, exist_ok=True)
    properties = folder / "server.properties"
    properties.write_text(_PROPERTIES.format(port=port, controller=controller, data=folder / "data"))
    logging = folder / "log4j2.properties"
    logging.write_text(_LOGGING)
    java = ["java", f"-Dlog4j2.configurationFile={logging}", "-cp", f"{libraries}/*"]
    tool = [*java, "-Xmx128m", "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool"]
    identity = subprocess.run([*tool, "random-uuid"], check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run(
        [*tool, "format", "--standalone", "-t", identity, "-c", str(properties)], check=True, capture_output=True
    )
    command = [*java, "-Xms384m", "-Xmx384m", "-XX:+UseSerialGC", "kafka.Kafka", str(properties)]
    with server(command, folder / "kafka.log", port):
        yield Broker(f"127.0.0.1:{port}", "java")


def _libraries() -> Path:
    """The broker's jars, fetched once from Maven Central."""
    found = cache_folder() / "kafka-4.4.0"
    if not shutil.which("java") or not (found.exists() or shutil.which("mvn")):
        raise PartMissing("no Kafka broker can be had here: install Docker, or Java 17 and Maven")
    with locked(cache_folder()):
        if not found.exists():
            draft = found.with_suffix(".part")
            shutil.rmtree(draft, ignore_errors=True)
            with as_file(files("ops.parts") / "pom.xml") as pom:
                subprocess.run(
                    ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={draft}"],
                    check=True,
                )
            draft.rename(found)
    return found
