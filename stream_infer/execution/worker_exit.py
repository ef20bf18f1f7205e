"""Causes of workers' deaths, from Ray's control service."""

from __future__ import annotations

import logging

from stream_infer.execution import ray_private

log = logging.getLogger(__name__)


def starved(worker: str) -> bool:
    """Whether Ray ended this worker (its id, in hex) because its node ran out of memory.

    Ray reports the cause only to its dashboard. False if the control service does not answer as expected: the death then
    counts like any other.
    """
    try:
        rows = map(
            ray_private.WorkerTableData.FromString, ray_private.state._connect_and_get_accessor().get_worker_table()
        )
        return any(
            row.exit_type == ray_private.WorkerExitType.NODE_OUT_OF_MEMORY
            for row in rows
            if row.worker_address.worker_id.hex() == worker
        )
    except Exception as error:  # this interface is private and may raise any error, which must not stop the service
        log.warning("the cause of the death of worker %s is unknown: %s", worker, error)
        return False
