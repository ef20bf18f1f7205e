"""The errors. The class of an error alone decides what happens to the data.

StreamInferError
├── Retryable       a dependency failed: wait with jittered backoff, then try again
├── RejectRecord    this record can never be processed: reject it, deliver its neighbours
├── Lost            the record no longer exists at its coordinate: a named loss
├── Oversized       the split as a whole is too large for memory: bisect it
└── Fatal           a person must act: stop with one clear sentence
    ├── ConfigError     a setting is wrong
    └── Fenced          another instance owns the ledger
"""

from __future__ import annotations


class StreamInferError(Exception):
    """Base of the errors of this package."""


class Retryable(StreamInferError):
    """A dependency failed for now. The same call may succeed later; nothing was lost.

    Args:
        message: one sentence for a person.
        dependency: which one, of `telemetry.labels.DEPENDENCIES` (a metric label).
    """

    def __init__(self, message: str = "", *, dependency: str = "other") -> None:
        super().__init__(message)
        self.dependency = dependency


class RejectRecord(StreamInferError):
    """One record cannot be processed, now or later.

    Args:
        message: one sentence for a person.
        reason: class of the cause, one of few (a metric label), such as ``decode``.
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
    """A split exceeds ``limits.decoded`` when decoded. Another try would fail too; its pieces may fit."""


class Fatal(StreamInferError):
    """The service cannot go on until a person acts. The message says what to do."""


class ConfigError(Fatal):
    """A setting is wrong. The message names its path and what to write instead."""


class Fenced(Fatal):
    """Another instance took the ledger (its epoch is newer); this one must not write again."""
