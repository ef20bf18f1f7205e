"""The seam between the driver and an execution. The driver knows an execution only by this protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from stream_infer.splits import Split


class ExecutionReport(NamedTuple):
    """Troubles of one execution since its start.

    Attributes:
        stalled: sentence of the dependency failure that each stalled split waits for now, by split id.
        failures: number of failed calls to dependencies, by stage and dependency.
        deaths: number of dead workers, by stage and cause: ``died``, ``hung`` or ``memory``.
    """

    stalled: Mapping[str, str] = {}
    failures: Mapping[tuple[str, str], int] = {}
    deaths: Mapping[tuple[str, str], int] = {}


class Execution(Protocol):
    """One run of the stages' actors, from warm-up to drain. Its constructor starts it.

    The outcome of each submitted split is put on the queue that the execution was started with. A failed execution
    puts nothing more there, though one of its workers may still be writing a file.

    Attributes:
        number: counts the executions of one service, from 1.
        started_at: seconds since 1970.
        submitted: number of splits submitted so far.
        failure: error that ended the execution; None while it runs and after a drain.
    """

    number: int
    started_at: float
    submitted: int
    failure: BaseException | None

    @property
    def ended(self) -> bool:
        """Whether the execution is over: drained or failed."""

    @property
    def reason(self) -> str:
        """The failure in one line."""

    def warm(self, timeout: float) -> None:
        """Return when every pool has an actor that is set up.

        Raises:
            Retryable: ``timeout`` seconds passed, or the execution failed.
            Fatal: a stage cannot be set up until a person acts.
        """

    def submit(self, split: Split, deadline: float | None = None) -> None:
        """Send one split into the first pool; its attempt is already counted in the ledger.

        Args:
            deadline: seconds that one try of a stage may take before its process is killed; None: no limit.
        """

    def report(self) -> ExecutionReport:
        """The newest report, a fraction of a second old. Never blocks."""

    def actors(self) -> Mapping[str, int]:
        """Number of running actors by stage."""

    def hold(self) -> None:
        """Start no stage of any split any more, and wait for no dependency: such splits come out unfinished."""

    def close(self) -> None:
        """Accept no more splits; the execution ends when all of them have come out."""

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end of the execution; returns whether it has ended."""
