"""Micro-batches begun ahead on a GPU: one is copied and queued while another is computed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from stream_infer.contracts import Model

LANES = 2


@runtime_checkable
class Ahead(Protocol):
    """A model that can begin on a micro-batch before the answer to the one before was waited for."""

    def begin(self, batch: pa.Table) -> Callable[[], pa.Table]:
        """`Model.infer` in two halves: what is called for the answer may wait, and raises what the device met."""
        ...


def begun(model: Model, batch: pa.Table) -> Callable[[], pa.Table]:
    """The model's own `Ahead.begin`; of a model that has none, its `infer`, left to the second half."""
    return model.begin(batch) if isinstance(model, Ahead) else lambda: model.infer(batch)


class Lanes:
    """CUDA streams, taken by turns.

    One stream would run dry between two micro-batches: networks ask the device in the middle of a forward (whether a
    mask hides anything), and that waits for all that was queued in the same stream before.
    """

    def __init__(self, device: str) -> None:
        import torch

        torch.cuda.synchronize(device)  # the weights were copied in another stream
        self._streams = itertools.cycle([torch.cuda.Stream(device) for _ in range(LANES)])

    def next(self) -> AbstractContextManager[Any]:
        """Within it, work is queued on the next stream."""
        import torch

        return torch.cuda.stream(next(self._streams))


def to_host(found: Mapping[str, Any]) -> Callable[[], dict[str, Any]]:
    """The values, tensors on a GPU copied to the host behind what is queued in this stream; the call waits for them."""
    import torch

    copies = dict(found)
    device = None
    for name, value in found.items():
        if isinstance(value, torch.Tensor) and value.is_cuda:
            device = value.device
            copies[name] = torch.empty(value.shape, dtype=value.dtype, pin_memory=True).copy_(value, non_blocking=True)
    copied = torch.cuda.current_stream(device).record_event() if device is not None else None

    def waited() -> dict[str, Any]:
        if copied is not None:
            copied.synchronize()
        return copies

    return waited
