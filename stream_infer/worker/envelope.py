"""The envelope of an outcome between two actors: a table of exactly one cell.

Ray Data drops empty blocks, unifies the schemas of neighbouring blocks and drops schema metadata. One cell passes all of that
unchanged. It holds the rows as an Arrow IPC stream, and the outcome in the schema metadata of that stream. It is one cell
because Ray pickles a table column by column, which is most of the driver's work for a small split.
"""

from __future__ import annotations

from typing import Any, Final

import orjson
import pyarrow as pa

from stream_infer.contracts import NO_ROWS
from stream_infer.decode.base import one_cell
from stream_infer.splits import Loss, Receipt, Reject, Split
from stream_infer.tasks import Done, Failed, Held, Outcome, Poisoned, Task, Trail

ENVELOPE: Final = pa.schema([("task", pa.large_binary())])
_KEY: Final = b"stream_infer.outcome"
_TASK_FIELDS: Final = tuple(name for name in Task.__dataclass_fields__ if name != "rows")


def pack(outcome: Outcome) -> pa.Table:
    """The outcome as a table of one row, `ENVELOPE`. Rows are included only if a stage follows."""
    task = outcome.task
    document: dict[str, Any] = {"task": {name: getattr(task, name) for name in _TASK_FIELDS}}
    match outcome:
        case Poisoned(reject=reject):
            document["poisoned"] = reject
        case Failed(reason=reason):
            document["failed"] = reason
        case Held():
            document["held"] = True
    rows = task.rows if isinstance(outcome, Done) and task.receipt is None else NO_ROWS
    metadata = {**(rows.schema.metadata or {}), _KEY: orjson.dumps(document)}
    return pa.Table.from_arrays([one_cell(_packed(rows.replace_schema_metadata(metadata)))], schema=ENVELOPE)


def unpack(envelope: pa.Table) -> Outcome:
    """The inverse of `pack`. The rows are not copied."""
    rows = pa.ipc.open_stream(envelope.column("task")[0].as_buffer()).read_all()
    metadata = rows.schema.metadata
    document = orjson.loads(metadata.pop(_KEY))
    task = _task(document["task"], rows.replace_schema_metadata(metadata or None))
    if "poisoned" in document:
        return Poisoned(task, Reject(**document["poisoned"]))
    if "failed" in document:
        return Failed(task, document["failed"])
    return Held(task) if "held" in document else Done(task)


def _task(fields: dict[str, Any], rows: pa.Table) -> Task:
    trail = fields["trail"]
    trail["origins"] = tuple(trail["origins"])
    for name in ("timestamps", "stalls"):
        trail[name] = {key: (first, second) for key, (first, second) in trail[name].items()}
    fields["answers"] = tuple(fields["answers"])
    fields["split"] = Split(**fields["split"])
    fields["rejects"] = tuple(Reject(**reject) for reject in fields["rejects"])
    fields["losses"] = tuple(Loss(**loss) for loss in fields["losses"])
    fields["receipt"] = Receipt.from_fields(fields["receipt"]) if fields["receipt"] is not None else None
    fields["trail"] = Trail(**trail)
    return Task(rows=rows, **fields)


def _packed(table: pa.Table) -> pa.Buffer:
    """The table as an Arrow IPC stream, copied once into memory of exactly its size, because rows may be large."""
    measure = pa.MockOutputStream()
    _write(measure, table)
    body = pa.allocate_buffer(measure.size())
    _write(pa.FixedSizeBufferWriter(body), table)
    return body


def _write(stream: pa.NativeFile, table: pa.Table) -> None:
    with stream, pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
