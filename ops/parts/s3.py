"""An S3 server: MinIO in Docker, else versitygw built with the machine's Go, else moto from the Python environment."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream_infer.ops.parts.process import Server, cache_folder, docker_answers, free_port, locked, server

_IMAGE = "minio/minio:RELEASE.2025-09-07T16-13-09Z"
_MODULE = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running S3 server.

    Attributes:
        kind: ``minio``, ``versitygw`` or ``moto``.
        process: its process, to kill it and start it again; None if it runs in Docker.
    """

    endpoint_url: str
    access_key_id: str
    secret_access_key: str
    kind: str
    process: Server | None = None

    def storage(self) -> dict[str, str]:
        """The ``storage`` section of a pipeline file."""
        return {
            "endpoint_url": self.endpoint_url,
            "region": REGION,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
        }

    def client(self) -> Any:
        """A boto3 client of this server."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
        )


@contextlib.contextmanager
def start_s3(folder: Path, *, build: bool = True) -> Iterator[S3Server]:
    """Run an S3 server while the block runs; its data is in ``folder``.

    Args:
        build: whether versitygw may be built, which takes minutes the first time; else moto is used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if docker_answers():
        from testcontainers.minio import MinioContainer

        with MinioContainer(_IMAGE) as container:
            minio = container.get_config()
            yield S3Server(f"http://{minio['endpoint']}", minio["access_key"], minio["secret_key"], "minio")
        return
    port = free_port()
    binary = _versitygw(build)
    if binary is None:
        kind, command = "moto", [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    else:
        (folder / "data").mkdir(exist_ok=True)
        (folder / "versions").mkdir(exist_ok=True)
        kind = "versitygw"
        command = [str(binary), "--access", "test", "--secret", "testsecret", "--region", REGION]
        command += ["--port", f"127.0.0.1:{port}", "posix", "--versioning-dir", str(folder / "versions")]
        command += [str(folder / "data")]
    with server(command, folder / "s3.log", port) as process:
        yield S3Server(f"http://127.0.0.1:{port}", "test", "testsecret", kind, process)


def _versitygw(build: bool) -> Path | None:
    binary = cache_folder() / "gobin" / "versitygw"
    if binary.exists() or not build or not shutil.which("go"):
        return binary if binary.exists() else None
    with locked(cache_folder()):
        if not binary.exists():
            subprocess.run(["go", "install", _MODULE], check=True, env={**os.environ, "GOBIN": str(binary.parent)})
    return binary
