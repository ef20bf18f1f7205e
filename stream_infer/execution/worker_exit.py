"""What Ray's control service remembers of a dead worker. The only module that asks it."""

from __future__ import annotations

import logging

from ray._private.state import state
from ray.core.generated.common_pb2 import WorkerExitType
from ray.core.generated.gcs_pb2 import WorkerTableData

log = logging.getLogger(__name__)


def starved(worker: str) -> bool:
    """Whether Ray ended this worker (its id, in hex) because its node ran out of memory.

    Checked against Ray 2.60.0, which tells it to its dashboard alone. False where it does not answer as expected: then
    such a death counts like any other.
    """
    try:
        table = state._connect_and_get_accessor().get_worker_table()
        found = (WorkerTableData.FromString(row) for row in table)
        return any(
            data.exit_type == WorkerExitType.NODE_OUT_OF_MEMORY
            for data in found
            if data.worker_address.worker_id.hex() == worker
        )
    except Exception as error:  # it is no public interface: whatever it raises, the work must go on
        log.warning("Ray does not tell what worker %s died of: %s", worker, error)
        return False
