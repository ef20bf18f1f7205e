"""Who owns the ledger and whether it still lives, without a clock that two machines would have to share."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, select, update

from stream_infer.ledger import schema
from stream_infer.ledger.store import Store


class Pulse(NamedTuple):
    """What changes while the owner lives.

    Attributes:
        owner: ``HOST:PROCESS``, empty while nobody owns the ledger.
        epoch / writes: the fence, and the count of fenced transactions.
    """

    owner: str
    epoch: int
    writes: int


class Leasing(Store):
    """The owner's sign of life, and what a standby makes of it."""

    def beat(self) -> None:
        """Show that this instance lives: one more fenced transaction. Raises Fenced when it owns the ledger no more."""
        self._write(("beat",), lambda _connection: None)

    def release(self) -> None:
        """Own the ledger no more, so that a standby need not wait. Every later write of this instance is fenced."""

        def work(connection: Connection) -> None:
            connection.execute(update(schema.state).values(owner="", epoch=schema.state.c.epoch + 1))

        self._write(("release",), work)

    def pulse(self) -> Pulse:
        """The owner's pulse now. While it changes, the owner lives."""
        query = select(schema.state.c.owner, schema.state.c.epoch, schema.state.c.writes)
        with self._reading() as connection:
            return Pulse(*connection.execute(query).one())

    def succeed(self, owner: str, last: Pulse) -> bool:
        """`acquire`, unless the pulse is no longer this one: then the owner lives, or another was quicker."""
        here = schema.state.c
        return self._take(owner, here.epoch == last.epoch, here.writes == last.writes) is not None
