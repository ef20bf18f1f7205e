"""The GPUs of this machine, by NVIDIA's own library; none where there is no driver."""

from __future__ import annotations

from dataclasses import dataclass

import pynvml


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU at one moment.

    Attributes:
        name: its index, as a label.
        utilization: 0 … 1.
        used / total: bytes of memory.
    """

    name: str
    utilization: float
    used: int
    total: int


class Gpus:
    """Looks once for a driver, then reads its GPUs whenever asked: a few milliseconds each."""

    def __init__(self) -> None:
        try:
            pynvml.nvmlInit()
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        except pynvml.NVMLError:
            self._handles = []

    def read(self) -> list[Gpu]:
        """Those that answer."""
        found = []
        for index, handle in enumerate(self._handles):
            try:
                memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
                busy = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
            except pynvml.NVMLError:  # a driver that is being replaced, a GPU that fell off its bus
                continue
            found.append(Gpu(str(index), busy, int(memory.used), int(memory.total)))
        return found
