"""CUDA streams for micro-batches in flight: one is copied and queued while another is computed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import pyarrow as pa

if TYPE_CHECKING:
    from stream_infer.models.batching import Batchable

STREAMS = 2


@runtime_checkable
class Ahead(Protocol):
    """A model that can begin a micro-batch before the previous answer is awaited."""

    def begin(self, batch: pa.Table) -> Callable[[], pa.Table]:
        """`Batchable.infer` in two halves: the returned call waits for the answer and raises the device's errors."""
        ...


def begin(model: Batchable, batch: pa.Table) -> Callable[[], pa.Table]:
    """Begin with the model's `Ahead.begin`; for a model without it, return a call of its `infer`."""
    return model.begin(batch) if isinstance(model, Ahead) else lambda: model.infer(batch)


class CudaStreams:
    """CUDA streams, used in turn.

    With one stream the GPU would idle between two micro-batches: some networks read a value from the device in the middle of a
    forward pass (such as whether a mask hides anything), and this waits for all earlier work in the same stream.
    """

    def __init__(self, device: str) -> None:
        import torch

        torch.cuda.synchronize(device)  # the weights were copied in another stream
        self._streams = itertools.cycle([torch.cuda.Stream(device) for _ in range(STREAMS)])

    def next(self) -> AbstractContextManager[Any]:
        """A context in which work is queued on the next stream."""
        import torch

        return torch.cuda.stream(next(self._streams))


def to_host(values: Mapping[str, Any]) -> Callable[[], dict[str, Any]]:
    """Queue copies of the values' GPU tensors to the host in this stream; the returned call waits for them."""
    import torch

    copies = dict(values)
    device = None
    for name, value in values.items():
        if isinstance(value, torch.Tensor) and value.is_cuda:
            device = value.device
            copies[name] = torch.empty(value.shape, dtype=value.dtype, pin_memory=True).copy_(value, non_blocking=True)
    copied = torch.cuda.current_stream(device).record_event() if device is not None else None

    def wait() -> dict[str, Any]:
        if copied is not None:
            copied.synchronize()
        return copies

    return wait
