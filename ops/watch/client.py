"""HTTP client of the commands for a running service, with the standard library alone."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from stream_infer import config
from stream_infer.errors import Fatal
from stream_infer.ops.watch.address import NoService, Silent, address
from stream_infer.ops.watch.snapshot import Snapshot

_SECONDS = 10.0  # to wait for an answer of the service


class Client:
    """Client of the service of one pipeline file.

    Every method raises `NoService` where no service answers, and Fatal with the service's own sentence where it refuses.
    """

    def __init__(self, settings: config.PipelineSettings) -> None:
        self._name = settings.name
        self._token = settings.serve.token if settings.serve else None
        self.url = address(settings)

    def get(self, path: str) -> Any:
        """The JSON document at a path."""
        with self._open(path) as answer:
            return json.load(answer)

    def snapshots(self) -> Iterator[Snapshot]:
        """The service's snapshots as they arrive, until it ends."""
        with self._open("/api/v1/events") as answer:
            try:
                for line in answer:
                    if line.startswith(b"data:"):
                        yield Snapshot.model_validate_json(line[5:])
            except (OSError, http.client.HTTPException) as error:
                raise self._no_service(error) from None

    def _open(self, path: str) -> http.client.HTTPResponse:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_SECONDS)
        except urllib.error.HTTPError as error:
            raise Fatal(f"the service at {self.url} answered: {_sentence(error)}") from None
        except (OSError, http.client.HTTPException) as error:
            raise self._no_service(error) from None
        return answer

    def _no_service(self, error: Exception) -> NoService:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, TimeoutError):
            return Silent(f"the service of {self._name} at {self.url} did not answer within {_SECONDS:g} s")
        cause = getattr(reason, "strerror", None) or str(reason) or type(error).__name__
        return NoService(f"no service of {self._name} answers at {self.url} ({cause}); start it: stream-infer run FILE")


def _sentence(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"
