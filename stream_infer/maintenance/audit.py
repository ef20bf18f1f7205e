"""The audit: the ledger compared with a plain listing of the output."""

from __future__ import annotations

from dataclasses import dataclass, field

from stream_infer.contracts import Sink
from stream_infer.ledger import Ledger

_FINAL = "committed"
_OPEN = ("planned", "running")


@dataclass(frozen=True, slots=True)
class Audit:
    """Records by outcome, ``planned = committed + rejected + in_flight + lost``, and records that exist twice.

    Attributes:
        findings: one sentence for each file that contradicts the ledger.
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
        """Whether no record is lost and none exists twice."""
        return self.lost == 0 and self.duplicated == 0

    def counts(self) -> dict[str, int]:
        """The six numbers by name."""
        names = ("planned", "committed", "rejected", "in_flight", "lost", "duplicated")
        return {name: getattr(self, name) for name in names}


def audit(ledger: Ledger, sink: Sink) -> Audit:
    """Compare every file under the sink with every split of the ledger.

    Rows of a committed split that its file lacks are lost. Rows in a file that no committed split owns are duplicated, unless
    the split is still open: a restart adopts its file.
    """
    # The listing comes first: a file that is written meanwhile belongs to a split that is open or committed by then.
    listed = {receipt.split_id: receipt for receipt in sink.receipts()}
    findings: list[str] = []
    missing = surplus = 0
    planned_ids: set[str] = set()
    for split_id, state, file, rows in ledger.files():
        planned_ids.add(split_id)
        receipt = listed.get(split_id)
        rows_in_file = receipt.rows if receipt is not None else 0
        if state == _FINAL and file is not None and rows_in_file < rows:
            # It may have been written after the listing; only its absence now is a finding.
            missing += rows - rows_in_file
            findings.append(f"{file}: the ledger has {rows} rows, the file {rows_in_file}")
        elif rows_in_file and (state not in (_FINAL, *_OPEN) or (state == _FINAL and file is None)):
            surplus += rows_in_file
            findings.append(f"{receipt.file if receipt else split_id}: {rows_in_file} rows of a split that was {state}")
    for split_id, receipt in listed.items():
        if split_id not in planned_ids and receipt.rows:
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
