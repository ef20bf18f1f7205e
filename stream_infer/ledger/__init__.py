"""The ledger: the database of truth. Work that is not in it was never planned; a split that is final in it stays final."""

from __future__ import annotations

from collections.abc import Mapping

from stream_infer.ledger.audit import Auditing
from stream_infer.ledger.commit import Committing
from stream_infer.ledger.lease import Leasing, Pulse
from stream_infer.ledger.plan import LedgerPosition, Planning
from stream_infer.ledger.rejects import Rejecting
from stream_infer.ledger.store import connect, parse_url

__all__ = ["Ledger", "LedgerPosition", "Pulse"]


class Ledger(Planning, Committing, Rejecting, Leasing, Auditing):
    """One instance's ledger, on SQLite or PostgreSQL. Every method may be called from any thread.

    Call `acquire` before the first write. Errors: Retryable (the database did not answer, call again with the same
    arguments), Fenced (another instance owns the ledger), Fatal.
    """

    @classmethod
    def open(cls, url: str, pipeline: Mapping[str, str], *, busy_timeout: float = 10.0) -> Ledger:
        """Open the ledger at a URL; creates or migrates its schema.

        Args:
            url: ``sqlite:///FILE`` (its folder is made) or ``postgresql+psycopg://USER@HOST/DATABASE``.
            pipeline: settings by name that must not change once work is planned; stored without credentials.
            busy_timeout: seconds to wait for another process's lock before Retryable.

        Raises:
            ConfigError: the URL is not usable.
            Fatal: a setting changed after work was planned, or the schema is newer than this release.
            Retryable: the database did not answer.
        """
        ledger = cls(connect(parse_url(url), busy_timeout))
        try:
            ledger._open(pipeline)
        except BaseException:
            ledger.close()
            raise
        return ledger
