"""The publisher: sends every reject that the ledger has committed to one target, at the target's own pace."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Mapping, Sequence

from stream_infer import crash, retry
from stream_infer.contracts import Reader, RejectTarget
from stream_infer.errors import Fenced
from stream_infer.ledger import Ledger
from stream_infer.rejects import Rejection, Told
from stream_infer.telemetry import labels
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metrics import Metrics

log = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0
_PAGE = 100


class Publisher(threading.Thread):
    """A thread for one target, so that a failing target delays no other target and no commit.

    The ledger stores the last reject that was published; a restart goes on there and may publish the last page twice.

    Args:
        readers: the sources' readers. The publisher copies them, since a reader belongs to one thread.

    Attributes:
        trouble: the target's present failure, in a sentence.
    """

    def __init__(
        self, target: RejectTarget, ledger: Ledger, readers: Mapping[str, Reader], metrics: Metrics | None = None
    ) -> None:
        super().__init__(name=f"rejects-{target.name}", daemon=True)
        self.target = target
        self.trouble: str | None = None
        self._ledger = ledger
        self._metrics = metrics
        self._readers = {name: copy.copy(reader) for name, reader in readers.items()} if target.originals else {}
        self._ending = threading.Event()
        self._failures = 0

    def finish(self, timeout: float) -> None:
        """Publish the rest once and end. A reject that fails now is published by the next start."""
        self._ending.set()
        if self.is_alive():
            self.join(timeout)

    def run(self) -> None:
        try:
            while True:
                ending = self._ending.is_set()
                published = self._publish_page()
                if ending and not published:
                    break
                if published is None or self._failures:
                    self._ending.wait(retry.PUBLISH.pause(self._failures) if self._failures else _LOOK_SECONDS)
        except Fenced:
            log.info("%s: another instance publishes the rejects from now on", self.target.name)
        finally:
            self.target.close()

    def _publish_page(self) -> bool | None:
        """Publish one page of rejects: True after a success, None without a reject to publish, False after a failure."""
        try:
            found = self._ledger.unpublished(self.target.name, _PAGE)
            if found:
                told = [self._told(rejection) for rejection in found]
                with crash.around("rejects.publish"):
                    self.target.publish(told)
                self._ledger.publish(self.target.name, found[-1].seq)
                self._count(len(found))
        except Fenced:
            raise
        except Exception as error:  # a failing target stops neither commits nor planning
            self._failures += 1
            self.trouble = f"{self.target.name}: {error}"
            log.warning("rejects are not published yet: %s", self.trouble)
            return False
        self._failures, self.trouble = 0, None
        return True if found else None

    def _count(self, rejects: int) -> None:
        kind = self.target.name.partition(":")[0]
        if self._metrics is not None and kind in labels.REJECT_TARGETS:
            self._metrics.add(m.REJECTS_PUBLISHED, rejects, kind)

    def _told(self, rejection: Rejection) -> Told:
        reader = self._readers.get(rejection.split.source)
        if reader is None:
            return Told(rejection)
        return Told(rejection, reader.original(rejection.split, rejection.reject, self.target.originals))


class Samples:
    """Keeps the beginning of each rejected payload in the ledger (`contracts.RejectTarget`).

    Args:
        size: bytes of a payload.
    """

    name = "sample"

    def __init__(self, ledger: Ledger, size: int) -> None:
        self.originals = size
        self._ledger = ledger

    def publish(self, told: Sequence[Told]) -> None:
        """See `contracts.RejectTarget.publish`."""
        values = {item.rejection.seq: item.original.value for item in told if item.original is not None}
        self._ledger.keep_samples({seq: value[: self.originals] for seq, value in values.items() if value is not None})

    def close(self) -> None:
        """Nothing to release."""
