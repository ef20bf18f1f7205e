"""Kafka (KRaft): one broker from Docker, else one or more from Maven Central with the machine's Java."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from stream_infer.ops.parts.process import PartMissing, Server, cache_folder, docker_answers, free_port, locked

_LOG4J = "log4j2.properties"
_IMAGE = "apache/kafka:4.1.0"
_PROPERTIES = """
process.roles=broker,controller
node.id={node}
{quorum}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{proxy_listener}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{proxy_address}
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT
log.dirs={data}
num.partitions=1
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor={copies}
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr=1
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
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
        process: its process, to kill it and start it again; None if it runs in Docker.
    """

    servers: str
    kind: str
    process: Server | None = None


@dataclass(frozen=True, slots=True)
class ProxyListener:
    """A second listener of a broker, for clients that connect through a proxy.

    Attributes:
        port: the broker's port for the proxy.
        proxy_port: the proxy's port, which the broker advertises to these clients.
    """

    port: int
    proxy_port: int


@contextlib.contextmanager
def start_kafka(folder: Path) -> Iterator[Broker]:
    """Run a broker while the block runs; its data is in ``folder``.

    Raises:
        PartMissing: neither Docker nor Java with Maven is here.
    """
    if docker_answers():
        from testcontainers.kafka import KafkaContainer

        with KafkaContainer(_IMAGE).with_kraft() as container:
            yield Broker(container.get_bootstrap_server(), "docker")
        return
    with start_brokers(folder) as brokers:
        yield brokers[0]


@contextlib.contextmanager
def start_brokers(folder: Path, count: int = 1, proxy: ProxyListener | None = None) -> Iterator[list[Broker]]:
    """Run brokers of one cluster, as processes of this machine, while the block runs.

    Args:
        folder: the brokers' data, ``NUMBER/data`` each; a cluster whose data is there already continues with it.
        proxy: a listener of the first broker for clients that connect through a proxy.

    Raises:
        PartMissing: Java or Maven is not here.
    """
    java = ["java", "-cp", f"{_libraries()}/*"]
    tool = [*java, "-Xmx128m", "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool"]
    cluster = _output([*tool, "random-uuid"])
    ports = [(free_port(), free_port()) for _ in range(count)]
    with contextlib.ExitStack() as stack:
        brokers = []
        for number, (port, _) in enumerate(ports, 1):
            home = folder / str(number)
            properties = _configure(home, number, ports, proxy if number == 1 else None)
            if not (home / "data" / "meta.properties").exists():
                _output([*tool, "format", "-t", cluster, "-c", str(properties)])
            options = [f"-Dlog4j2.configurationFile={home / _LOG4J}", "-Xms384m", "-Xmx384m", "-XX:+UseSerialGC"]
            process = Server([*java, *options, "kafka.Kafka", str(properties)], home / "kafka.log", port, timeout=240.0)
            stack.callback(process.stop)
            brokers.append(Broker(f"127.0.0.1:{port}", "java", process))
        with ThreadPoolExecutor(count) as pool:  # a broker listens only when a majority of them runs
            list(pool.map(lambda broker: broker.process and broker.process.start(), brokers))
        yield brokers


def _configure(home: Path, number: int, ports: Sequence[tuple[int, int]], proxy: ProxyListener | None) -> Path:
    """Write the configuration of one broker; returns its properties file.

    Args:
        ports: broker's and controller's port of every broker.
    """
    home.mkdir(parents=True, exist_ok=True)
    voters = ",".join(f"{voter}@127.0.0.1:{controller}" for voter, (_, controller) in enumerate(ports, 1))
    port, controller = ports[number - 1]
    properties = home / "server.properties"
    (home / _LOG4J).write_text(_LOGGING)
    properties.write_text(
        _PROPERTIES.format(
            node=number,
            quorum=f"controller.quorum.voters={voters}",
            port=port,
            controller=controller,
            proxy_listener=f",PROXIED://127.0.0.1:{proxy.port}" if proxy else "",
            proxy_address=f",PROXIED://127.0.0.1:{proxy.proxy_port}" if proxy else "",
            data=home / "data",
            copies=len(ports),
        )
    )
    return properties


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _libraries() -> Path:
    """The broker's jars, downloaded once from Maven Central."""
    libraries = cache_folder() / "kafka-4.4.0"
    if not shutil.which("java") or not (libraries.exists() or shutil.which("mvn")):
        raise PartMissing(
            "no Docker, and no Java 17 with Maven to run a Kafka broker: apt-get install default-jre-headless maven"
        )
    with locked(cache_folder()):
        if not libraries.exists():
            draft = libraries.with_suffix(".part")
            shutil.rmtree(draft, ignore_errors=True)
            with as_file(files("stream_infer.ops.parts") / "pom.xml") as pom:
                subprocess.run(
                    ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={draft}"],
                    check=True,
                )
            draft.rename(libraries)
    return libraries
