"""What a row of the benchmark measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

OURS = "stream-infer"  # its bar, where a row has one of it


@dataclass(frozen=True, slots=True)
class Check:
    """One target: ``measured`` as a reader sees it, and whether it was met (None: nothing to compare with)."""

    work: str
    measured: str
    target: str
    met: bool | None
    held_back_by: str = ""


@dataclass(slots=True)
class Result:
    """One row.

    Attributes:
        bars: label to value, for the chart; the first is ours.
        unit: of the bars.
        notes: what a reader must know to judge the figures.
        measured: where and when; rows may be measured one by one.
        elsewhere: this machine lacks what the row needs; figures taken on another one stay.
    """

    name: str
    title: str
    unit: str
    bars: dict[str, float] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    measured: str = ""
    elsewhere: bool = False

    def take(self, rates: Mapping[str, Sequence[float]]) -> None:
        """The medians of the turns become the bars, the turns notes."""
        self.bars = {name: median(found) for name, found in rates.items()}
        self.notes += [
            f"{name}, by turn: {', '.join(f'{rate:,.0f}' for rate in found)}" for name, found in rates.items()
        ]

    def ratio(self, work: str, ours: float, theirs: float, target: float, held_back_by: str = "") -> None:
        """A check of ours over theirs, both measured in this run."""
        self.ratio_by_turns(work, [ours], [theirs], target, held_back_by)

    def ratio_by_turns(
        self, work: str, ours: Sequence[float], theirs: Sequence[float], target: float, held_back_by: str = ""
    ) -> None:
        """A check of the median of the turns' ratios; the least and the most of them stand beside it."""
        ratios = sorted(one / other for one, other in zip(ours, theirs, strict=True))
        value = median(ratios)
        met = value >= target
        spread = f" ({ratios[0]:.2f} to {ratios[-1]:.2f})" if len(ratios) > 1 else ""
        self.checks.append(Check(work, f"{value:.2f}{spread}", f"≥ {target:g}", met, "" if met else held_back_by))

    def at_most(self, work: str, value: float, target: float, unit: str, held_back_by: str = "") -> None:
        """A check of one figure against a bound."""
        met = value <= target
        self.checks.append(Check(work, f"{value:.3g} {unit}", f"≤ {target:g} {unit}", met, "" if met else held_back_by))

    def stated(self, work: str, measured: str, why: str = "") -> None:
        """A figure without a target, or a peer that could not be measured."""
        self.checks.append(Check(work, measured, "stated", None, why))
