"""Ownership of the ledger and the owner's heartbeat, without a clock that two machines would have to share."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, select, update

from stream_infer.ledger import schema
from stream_infer.ledger.store import Store


class Pulse(NamedTuple):
    """The values that change while the owner lives.

    Attributes:
        owner: ``HOST:PROCESS``, empty while nobody owns the ledger.
        epoch: of the owner.
        writes: number of fenced transactions so far.
    """

    owner: str
    epoch: int
    writes: int


class Leasing(Store):
    """Heartbeat of the owner, and the takeover by a standby."""

    def beat(self) -> None:
        """Write a heartbeat: one more fenced transaction. Raises Fenced when another instance owns the ledger."""
        self._write(("beat",), lambda _connection: None)

    def release(self) -> None:
        """Give the ledger up, so that a standby need not wait. Every later write of this instance is fenced."""

        def work(connection: Connection) -> None:
            connection.execute(update(schema.state).values(owner="", epoch=schema.state.c.epoch + 1))

        self._write(("release",), work)

    def pulse(self) -> Pulse:
        """The current pulse. While it changes, the owner lives."""
        query = select(schema.state.c.owner, schema.state.c.epoch, schema.state.c.writes)
        with self._reading() as connection:
            return Pulse(*connection.execute(query).one())

    def take_over(self, owner: str, last: Pulse) -> bool:
        """`acquire`, unless the pulse differs from ``last``: then the owner lives, or another standby was quicker."""
        columns = schema.state.c
        return self._take(owner, columns.epoch == last.epoch, columns.writes == last.writes) is not None
