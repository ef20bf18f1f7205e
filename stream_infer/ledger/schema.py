"""Tables of the ledger, the version of the schema, and the migrations of older versions.

States of a split: ``planned → running → committed | rejected | bisected``. The last three are final, and only
then is ``finished_at`` set. Partial indexes use its ``IS NULL``, which both databases can prove; a query with
``state IN (?, ?)`` and bound values would never use one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    and_,
    false,
    insert,
    inspect,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateColumn

from stream_infer.errors import Fatal

PLANNED, RUNNING, COMMITTED, REJECTED, BISECTED = "planned", "running", "committed", "rejected", "bisected"
# Bound values per statement; SQLite of older builds allows 999.
CHUNK = 500
_ADVISORY_LOCK = 0x5354_494E  # serialises two PostgreSQL instances that create the schema at the same moment

# SQLite numbers rows only through INTEGER; prefix searches need byte order, whatever the database's collation.
_BIG = BigInteger().with_variant(Integer, "sqlite")
_BYTEWISE = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

metadata = MetaData()

state = Table(
    "ledger_state",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("schema_version", Integer, nullable=False),
    Column("epoch", _BIG, nullable=False),
    Column("owner", Text, nullable=False),
    Column("acquired_at", Float),
    # Number of fenced transactions. It shows after a lost COMMIT reply whether the commit took place.
    Column("writes", _BIG, nullable=False),
)
settings = Table(
    "ledger_settings",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
splits = Table(
    "ledger_splits",
    metadata,
    Column("seq", _BIG, primary_key=True, autoincrement=False),
    Column("split_id", Text, nullable=False, unique=True),
    Column("root", _BIG),  # seq of the planned split, for all halves it was bisected into
    Column("source", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("position_key", Text),
    Column("range_start", _BIG),
    Column("range_stop", _BIG),
    Column("document", Text, nullable=False),
    Column("records", _BIG, nullable=False),
    Column("planned_at", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("finished_at", Float),
    Column("acknowledged_at", Float),
    Column("file", Text),
    Column("rows", _BIG, nullable=False, default=0),
    Column("rejected", _BIG, nullable=False, default=0),
    Column("lost", _BIG, nullable=False, default=0),
    Column("bytes_in", _BIG, nullable=False, default=0),
    Column("bytes_out", _BIG, nullable=False, default=0),
    Column("attempt", Integer),
    Column("model", Text),
    Column("seconds", Text),
)
OPEN = splits.c.finished_at.is_(None)
UNACKNOWLEDGED = and_(splits.c.finished_at.is_not(None), splits.c.acknowledged_at.is_(None))
Index(
    "ledger_splits_open",
    splits.c.source,
    splits.c.position_key,
    splits.c.range_start,
    sqlite_where=OPEN,
    postgresql_where=OPEN,
)
Index(
    "ledger_splits_unacknowledged",
    splits.c.source,
    splits.c.seq,
    sqlite_where=UNACKNOWLEDGED,
    postgresql_where=UNACKNOWLEDGED,
)
_PIECE = splits.c.root.is_not(None)
Index("ledger_splits_root", splits.c.root, sqlite_where=_PIECE, postgresql_where=_PIECE)
_RANGED = splits.c.position_key.is_not(None)
Index(
    "ledger_splits_range",
    splits.c.position_key,
    splits.c.range_start,
    splits.c.range_stop,
    sqlite_where=_RANGED,
    postgresql_where=_RANGED,
)
positions = Table(
    "ledger_positions",
    metadata,
    Column("source", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
# One row per split that reads the object: ranges of one big object are several splits. "" where no split does.
objects = Table(
    "ledger_objects",
    metadata,
    Column("object_id", _BYTEWISE, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("split_id", Text, primary_key=True),
    Column("size", _BIG, nullable=False),
    Column("modified", Float, nullable=False),
    sqlite_with_rowid=False,
)


def _since_version_2() -> list[Column[Any]]:
    return [
        Column("whole", Boolean, nullable=False, server_default=false()),
        Column("event", _BIG, nullable=False, server_default="0"),  # seq of its newest rejection
        Column("replays", Integer, nullable=False, server_default="0"),
        Column("replay_split", Text),  # the split that reads it again; NULL while it is open
        Column("resolved_at", Float),
    ]


rejects = Table(
    "ledger_rejects",
    metadata,
    Column("seq", _BIG, primary_key=True),
    Column("record_id", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("split_id", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("rejected_at", Float, nullable=False),
    *_since_version_2(),
    UniqueConstraint("record_id", "source"),
)
TO_REPLAY = rejects.c.replay_split.is_(None)
Index("ledger_rejects_open", rejects.c.source, rejects.c.seq, sqlite_where=TO_REPLAY, postgresql_where=TO_REPLAY)
_REPLAYED = rejects.c.replay_split.is_not(None)
Index("ledger_rejects_replay", rejects.c.replay_split, sqlite_where=_REPLAYED, postgresql_where=_REPLAYED)
# One row each time a record was rejected, in the order of commits; `rejects` holds the newest of each record.
rejections = Table(
    "ledger_rejections",
    metadata,
    Column("seq", _BIG, primary_key=True, autoincrement=False),
    Column("record_id", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("split_id", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("rejected_at", Float, nullable=False),
    Column("whole", Boolean, nullable=False),
    Column("replay", Integer, nullable=False),
)
Index("ledger_rejections_record", rejections.c.record_id)
samples = Table(
    "ledger_samples",
    metadata,
    Column("event", _BIG, primary_key=True, autoincrement=False),  # seq of the rejection
    Column("payload", LargeBinary, nullable=False),
)
# The last of `rejections` that was published to each target.
published = Table(
    "ledger_published",
    metadata,
    Column("target", Text, primary_key=True),
    Column("seq", _BIG, nullable=False),
)
# Any process writes here, without an epoch; the planner of the source in the instance that owns the ledger reads it.
requests = Table(
    "ledger_replay_requests",
    metadata,
    Column("seq", _BIG, primary_key=True),
    Column("source", Text, nullable=False),
    Column("error", Text),
    Column("since", Float),
    Column("until", Float),
    Column("records", Text),  # JSON list of coordinates, where records were named
    Column("upto", _BIG, nullable=False),  # the request excludes later rejections
    Column("requested_at", Float, nullable=False),
    Column("done_at", Float),
)
WAITING = requests.c.done_at.is_(None)
Index("ledger_replay_requests_open", requests.c.source, sqlite_where=WAITING, postgresql_where=WAITING)
losses = Table(
    "ledger_losses",
    metadata,
    Column("seq", _BIG, primary_key=True),
    Column("record_id", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("split_id", Text, nullable=False),  # "" for records that were lost before they could be planned
    Column("reason", Text, nullable=False),
    Column("records", _BIG, nullable=False),
    UniqueConstraint("record_id", "source"),
)
# Sums over final splits, kept by the transactions that make them final, so that status never scans them.
totals = Table(
    "ledger_totals",
    metadata,
    Column("source", Text, primary_key=True),
    *(
        Column(name, _BIG, nullable=False, default=0)
        for name in ("committed", "bisected", "refused", "rows", "rejected", "lost", "bytes_in", "bytes_out")
    ),
    Column("last_commit", Float),
)


def _rejects_are_replayed(connection: Connection) -> None:
    """Version 2: rejects get a history, samples, publications and replays."""
    for column in _since_version_2():
        words = CreateColumn(column).compile(dialect=connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE {rejects.name} ADD COLUMN {words}")
    metadata.create_all(connection, tables=[rejections, samples, published, requests])
    for index in rejects.indexes:
        index.create(connection)
    names = [column.name for column in rejections.c if column.name != "replay"]
    was = select(*(rejects.c[name] for name in names), literal(0))
    connection.execute(insert(rejections).from_select([*names, "replay"], was))
    connection.execute(update(rejects).values(event=rejects.c.seq))


T = TypeVar("T")
Migration = Callable[[Connection], None]
# MIGRATIONS[n] turns version n + 1 into n + 2.
MIGRATIONS: tuple[Migration, ...] = (_rejects_are_replayed,)
VERSION = len(MIGRATIONS) + 1


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Slices small enough for one IN list."""
    return (items[at : at + CHUNK] for at in range(0, len(items), CHUNK))


def stored_version(connection: Connection) -> int:
    """Version of the schema in the database; 0 where there is none."""
    if not inspect(connection).has_table(state.name):
        return 0
    return connection.scalar(select(state.c.schema_version)) or 0


def prepare(connection: Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Create the schema or bring it to this version, inside the caller's write transaction.

    Raises:
        Fatal: a newer release of this program wrote it.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    newest, version = len(migrations) + 1, stored_version(connection)
    if version > newest:
        raise Fatal(
            f"the ledger has schema version {version} and this release reads versions up to {newest}: "
            "run the release that wrote it, or a newer one"
        )
    if version == 0:
        metadata.create_all(connection)
        connection.execute(insert(state).values(id=1, schema_version=newest, epoch=0, owner="", writes=0))
        return
    for migration in migrations[version - 1 :]:
        migration(connection)
    connection.execute(update(state).values(schema_version=newest))
