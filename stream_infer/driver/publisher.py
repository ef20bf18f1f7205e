"""Publishers of dead letters: one for each target, at the target's own pace."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace

from stream_infer import crash, retry
from stream_infer.contracts import Reader, RejectTarget
from stream_infer.errors import Fenced
from stream_infer.ledger import Ledger
from stream_infer.rejects import DeadLetter
from stream_infer.telemetry import labels
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metrics import Metrics

log = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0
_PAGE = 100


class DeadLetterPublisher(threading.Thread):
    """Publishes every reject that the ledger has committed to one target.

    One thread a target, so that a target that fails delays no other, and never the pipeline. The ledger remembers how
    far it is; a restart goes on there, and may publish the last page twice.

    Args:
        readers: the sources' readers. The publisher copies them, since a reader belongs to one thread.

    Attributes:
        trouble: why the target takes nothing at the moment.
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
        """Publish the rest and end. After a failure the next start publishes it."""
        self._ending.set()
        if self.is_alive():
            self.join(timeout)

    def run(self) -> None:
        try:
            while True:
                ending = self._ending.is_set()
                published = self._try()
                if ending and not published:
                    break
                if published is None or self._failures:
                    self._ending.wait(retry.PUBLISH.pause(self._failures) if self._failures else _LOOK_SECONDS)
        except Fenced:
            log.info("%s: another instance publishes to it from now on", self.target.name)
        finally:
            self.target.close()

    def _try(self) -> bool | None:
        """Publish one page. True when something was published, None when there is nothing, False when it failed."""
        try:
            letters = self._ledger.unpublished(self.target.name, _PAGE)
            if letters:
                with_originals = [self._with_original(letter) for letter in letters]
                with crash.around("rejects.publish"):
                    self.target.publish(with_originals)
                self._ledger.publish(self.target.name, letters[-1].seq)
                self._count(len(letters))
        except Fenced:
            raise
        except Exception as error:  # whatever a target raises, the pipeline goes on
            self._failures += 1
            self.trouble = f"{self.target.name}: {error}"
            log.warning("rejects are not published yet: %s", self.trouble)
            return False
        self._failures, self.trouble = 0, None
        return True if letters else None

    def _count(self, rejects: int) -> None:
        kind = self.target.name.partition(":")[0]
        if self._metrics is not None and kind in labels.REJECT_TARGETS:
            self._metrics.add(m.REJECTS_PUBLISHED, rejects, kind)

    def _with_original(self, letter: DeadLetter) -> DeadLetter:
        reader = self._readers.get(letter.split.source)
        if reader is None:
            return letter
        return replace(letter, original=reader.original(letter.split, letter.reject, self.target.originals))


class Samples:
    """Keeps the beginning of each rejected payload in the ledger (`contracts.RejectTarget`).

    Args:
        size: bytes of a payload.
    """

    name = "sample"

    def __init__(self, ledger: Ledger, size: int) -> None:
        self.originals = size
        self._ledger = ledger

    def publish(self, letters: Sequence[DeadLetter]) -> None:
        """See `contracts.RejectTarget.publish`."""
        values = {letter.seq: letter.original.value for letter in letters if letter.original is not None}
        self._ledger.keep_samples({seq: value[: self.originals] for seq, value in values.items() if value is not None})

    def close(self) -> None:
        """Nothing to release."""
