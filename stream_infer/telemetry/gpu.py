"""Utilization and memory of this machine's GPUs, from NVIDIA's library; no GPU where there is no driver."""

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
    """The GPUs of the driver that is there at the start; reading one takes a few milliseconds."""

    def __init__(self) -> None:
        try:
            pynvml.nvmlInit()
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        except pynvml.NVMLError:
            self._handles = []

    def read(self) -> list[Gpu]:
        """Read every GPU that answers."""
        gpus = []
        for index, handle in enumerate(self._handles):
            try:
                memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
                busy = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
            except pynvml.NVMLError:  # a driver that is being replaced, a GPU that fell off its bus
                continue
            gpus.append(Gpu(str(index), busy, int(memory.used), int(memory.total)))
        return gpus
