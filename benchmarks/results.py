"""The results of a row of the benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

OURS = "stream-infer"  # label of its bar, in a row with one


@dataclass(frozen=True, slots=True)
class Check:
    """One target: ``measured`` as text, and whether it ``passed`` (None: it has no target)."""

    work: str
    measured: str
    target: str
    passed: bool | None
    limited_by: str = ""


@dataclass(slots=True)
class Result:
    """One row.

    Attributes:
        bars: label to value, for the chart; the first is ours.
        unit: of the bars.
        notes: facts that a reader needs to judge the results.
        measured: where and when; rows may be measured one by one.
        elsewhere: this machine cannot measure the row; the results of another one stay.
    """

    name: str
    title: str
    unit: str
    bars: dict[str, float] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    measured: str = ""
    elsewhere: bool = False

    def add_rates(self, rates: Mapping[str, Sequence[float]]) -> None:
        """Take the medians of the turns as bars, and the turns as notes."""
        self.bars = {name: median(turns) for name, turns in rates.items()}
        self.notes += [
            f"{name}, by turn: {', '.join(f'{rate:,.0f}' for rate in turns)}" for name, turns in rates.items()
        ]

    def add_ratio(self, work: str, ours: float, theirs: float, target: float, limited_by: str = "") -> None:
        """Add a check of ours divided by theirs, both measured in this run."""
        self.add_ratio_by_turns(work, [ours], [theirs], target, limited_by)

    def add_ratio_by_turns(
        self, work: str, ours: Sequence[float], theirs: Sequence[float], target: float, limited_by: str = ""
    ) -> None:
        """Add a check of the median of the turns' ratios, with the smallest and the largest ratio beside it."""
        ratios = sorted(one / other for one, other in zip(ours, theirs, strict=True))
        value = median(ratios)
        passed = value >= target
        spread = f" ({ratios[0]:.2f} to {ratios[-1]:.2f})" if len(ratios) > 1 else ""
        self.checks.append(Check(work, f"{value:.2f}{spread}", f"≥ {target:g}", passed, "" if passed else limited_by))

    def add_at_most(self, work: str, value: float, target: float, unit: str, limited_by: str = "") -> None:
        """Add a check of one value against a bound."""
        passed = value <= target
        self.checks.append(
            Check(work, f"{value:.3g} {unit}", f"≤ {target:g} {unit}", passed, "" if passed else limited_by)
        )

    def add_statement(self, work: str, measured: str, why: str = "") -> None:
        """Add a value without a target, or a peer that could not be measured."""
        self.checks.append(Check(work, measured, "stated", None, why))
