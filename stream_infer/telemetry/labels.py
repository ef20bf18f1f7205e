"""The labels that metrics share, with all values that are known beforehand, and the buckets of histograms."""

from __future__ import annotations

from typing import Final

from stream_infer.telemetry.metric_spec import Label

ERROR_TYPES: Final = (
    *("decode", "too_large", "tombstone", "pointer", "no_input", "null", "empty", "not_text", "no_mask", "key"),
    *("rejected", "WorkerDied", "WorkerHung", "Poisoned", "MemoryError", "OutOfMemoryError", "AcceleratorError"),
    *("ValueError", "TypeError", "KeyError", "IndexError", "AttributeError", "RuntimeError", "AssertionError"),
    *("UnicodeDecodeError", "ArrowInvalid", "other"),
)
DEPENDENCIES: Final = ("kafka", "store", "ledger", "queue", "hub", "execution", "other")
REJECT_TARGETS: Final = ("ledger", "parquet", "kafka")
STAGES: Final = ("read", "infer", "write")  # of a pipeline with one model; several have ``infer:NAME``

SOURCE = Label("source")
MODEL = Label("model")
STAGE = Label("stage", STAGES, open=True)
ANY_STAGE = Label("stage", ("plan", *STAGES, "commit"), open=True)
PARTITION = (SOURCE, Label("topic"), Label("partition"))
GPU = Label("gpu")

WORK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
WAIT = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43200)
COMMIT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
