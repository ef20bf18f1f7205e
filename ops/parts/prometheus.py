"""A Prometheus server from the machine's packages: scrapes, evaluates rules and answers queries."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

import yaml

from stream_infer.ops.parts.process import PartMissing, free_port, server


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The result of an expression now: ``metric`` and ``value`` of each series.

        Raises:
            HTTPError: the expression is wrong.
        """
        result = self._get(f"/api/v1/query?{urlencode({'query': expr})}")["result"]
        # a scalar is (time, value)
        return [{"metric": {}, "value": result}] if result and not isinstance(result[0], dict) else list(result)

    def firing(self) -> list[dict[str, Any]]:
        """Alerts that fire: ``labels``, ``annotations``."""
        return [alert for alert in self._get("/api/v1/alerts")["alerts"] if alert["state"] == "firing"]

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its ``health`` and ``lastError``."""
        return [rule for group in self._get("/api/v1/rules")["groups"] for rule in group["rules"]]

    def exemplars(self, expr: str) -> list[dict[str, Any]]:
        """Exemplars of the series of an expression, of the last hour."""
        now = time.time()
        parameters = urlencode({"query": expr, "start": now - 3600, "end": now})
        return [
            example for series in self._get(f"/api/v1/query_exemplars?{parameters}") for example in series["exemplars"]
        ]

    def _get(self, path: str) -> Any:
        with build_opener(ProxyHandler({})).open(f"{self.url}{path}", timeout=20) as answer:
            return json.loads(answer.read())["data"]


@contextlib.contextmanager
def start_prometheus(
    folder: Path, jobs: Mapping[str, Sequence[str]], rules: Mapping[str, Any] | None = None, scrape: str = "1s"
) -> Iterator[Prometheus]:
    """Run Prometheus while the block runs; its data is in ``folder``.

    Args:
        jobs: job -> addresses to scrape, ``host:port``.
        rules: a rules file's document.
        scrape: interval of scrapes and rules.

    Raises:
        PartMissing: Prometheus is not installed.
    """
    binary = shutil.which("prometheus")
    if binary is None:
        raise PartMissing("Prometheus is not installed: apt-get install prometheus")
    folder.mkdir(parents=True, exist_ok=True)
    rules_file, config = folder / "rules.yaml", folder / "prometheus.yaml"
    rules_file.write_text(yaml.safe_dump(dict(rules or {"groups": []})))
    scraped = [{"job_name": job, "static_configs": [{"targets": [*targets]}]} for job, targets in jobs.items()]
    settings = {"scrape_interval": scrape, "scrape_timeout": scrape, "evaluation_interval": scrape}
    config.write_text(yaml.safe_dump({"global": settings, "rule_files": [str(rules_file)], "scrape_configs": scraped}))
    port = free_port()
    command = [binary, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage"]
    with server(command, folder / "prometheus.log", port):
        _await_ready(f"http://127.0.0.1:{port}/-/ready")
        yield Prometheus(f"http://127.0.0.1:{port}")


def _await_ready(url: str, timeout: float = 60.0) -> None:
    """Wait until it answers queries, which is some time after it accepts connections."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            build_opener(ProxyHandler({})).open(url, timeout=10).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise RuntimeError(f"Prometheus was not ready within {timeout:g} s") from None
            time.sleep(0.1)
