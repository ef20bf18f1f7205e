"""The model of the fixture: a digest of each text. Some texts raise, one kills its worker, one never ends."""

from __future__ import annotations

import hashlib
import os
import signal
import time

import pyarrow as pa


class Hash:
    """``MENDED`` in the environment lets ``mend`` texts pass; ``STUCK`` lets ``slow`` texts hang."""

    def infer(self, batch: pa.Table) -> dict[str, list[str]]:
        texts = batch.column("text").to_pylist()
        for text in texts:
            if text.startswith("raise ") or (text.startswith("mend ") and "MENDED" not in os.environ):
                raise ValueError(f"cannot hash {text!r}")
            if text.startswith("kill "):
                os.kill(os.getpid(), signal.SIGKILL)
            if text.startswith("slow ") and "STUCK" in os.environ:
                time.sleep(3600)
        return {"digest": [hashlib.sha256(text.encode()).hexdigest() for text in texts]}
