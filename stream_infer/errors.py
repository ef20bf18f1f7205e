"""What an error means for the data; nothing else decides what happens to one.

StreamInferError
├── Retryable       a dependency failed: wait with jittered backoff, then try the same work again
├── RejectRecord    this record can never be processed: reject it, deliver its neighbours
├── Lost            the record no longer exists at its coordinate: a named loss
├── Oversized       the split as a whole is too large to hold: divide it
└── Fatal           a person must act: stop with one clear sentence
    ├── ConfigError     a setting is wrong
    └── Fenced          another instance owns the ledger
"""

from __future__ import annotations


class StreamInferError(Exception):
    """Base of every error this project raises on purpose."""


class Retryable(StreamInferError):
    """A dependency failed for now. The same call may succeed later; nothing was lost.

    Args:
        message: one sentence for a person.
        dependency: which, as one of `telemetry.metrics.DEPENDENCIES` (a metric label).
    """

    def __init__(self, message: str = "", *, dependency: str = "other") -> None:
        super().__init__(message)
        self.dependency = dependency


class RejectRecord(StreamInferError):
    """One record cannot be processed, now or later.

    Args:
        message: one sentence for a person.
        reason: a bounded, low-cardinality class of the cause (a metric label), such as ``decode``.
    """

    def __init__(self, message: str, *, reason: str = "rejected") -> None:
        super().__init__(message)
        self.reason = reason


class Lost(StreamInferError):
    """The record cannot be read any more.

    Args:
        message: one sentence for a person.
        reason: ``expired``, ``superseded`` or ``deleted``.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Oversized(StreamInferError):
    """A split grew beyond ``limits.decoded`` when decoded. Trying again is of no use; its pieces may fit."""


class Fatal(StreamInferError):
    """The service cannot go on until a person acts. The message says what to do."""


class ConfigError(Fatal):
    """A setting is wrong. The message names its path and what to write instead."""


class Fenced(Fatal):
    """Another instance took the ledger (its epoch is newer); this one must not write again."""
