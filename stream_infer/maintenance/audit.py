"""The audit: what the ledger says, held against what a plain listing of the output shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from stream_infer.contracts import Sink
from stream_infer.ledger import Ledger

_FINAL = "committed"
_OPEN = ("planned", "running")


@dataclass(frozen=True, slots=True)
class Audit:
    """Records by fate, ``planned = committed + rejected + in_flight + lost``, and what is there twice.

    Attributes:
        findings: one sentence for each file that is not as the ledger says.
    """

    planned: int
    committed: int
    rejected: int
    in_flight: int
    lost: int
    duplicated: int
    findings: tuple[str, ...] = field(default=())

    @property
    def clean(self) -> bool:
        """Nothing is lost and nothing is there twice."""
        return self.lost == 0 and self.duplicated == 0

    def counts(self) -> dict[str, int]:
        """The six numbers."""
        names = ("planned", "committed", "rejected", "in_flight", "lost", "duplicated")
        return {name: getattr(self, name) for name in names}


def audit(ledger: Ledger, sink: Sink) -> Audit:
    """Compare every file under the sink with every split of the ledger.

    A committed split whose file is gone or short is lost; rows in a file that no committed split owns are duplicated,
    unless the split is still open: then the file stands and a restart adopts it.
    """
    # The listing comes first: a file that is written meanwhile belongs to a split that is open or committed by then.
    listed = {receipt.split_id: receipt for receipt in sink.receipts()}
    findings: list[str] = []
    missing = surplus = 0
    known: set[str] = set()
    for split_id, state, file, rows in ledger.files():
        known.add(split_id)
        receipt = listed.get(split_id)
        there = receipt.rows if receipt is not None else 0
        if state == _FINAL and file is not None and there < rows:
            # It may have been written after the listing; only its absence now is a finding.
            missing += rows - there
            findings.append(f"{file}: the ledger has {rows} rows, the file {there}")
        elif there and (state not in (_FINAL, *_OPEN) or (state == _FINAL and file is None)):
            surplus += there
            findings.append(f"{receipt.file if receipt else split_id}: {there} rows of a split that was {state}")
    for split_id, receipt in listed.items():
        if split_id not in known and receipt.rows:
            surplus += receipt.rows
            findings.append(f"{receipt.file}: {receipt.rows} rows of a split the ledger does not know")
    counts = ledger.audit()
    return Audit(
        planned=counts["planned"],
        committed=counts["committed"] - missing,
        rejected=counts["rejected"],
        in_flight=counts["in_flight"],
        lost=counts["lost"] + missing,
        duplicated=surplus,
        findings=tuple(findings),
    )
