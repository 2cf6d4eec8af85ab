"""What a benchmark gives: a figure, a yardstick of the same run, a bar; and the table that shows them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured figure. `value` and `bar` are in `unit`; `is_met` is None where the figure has no bar."""

    name: str
    value: float
    unit: str
    yardstick: str
    yardstick_value: float
    bar: str
    is_met: bool | None

    def row(self) -> str:
        ratio = f"{self.value / self.yardstick_value:.3g}" if self.yardstick_value else "-"
        verdict = {True: "met", False: "MISSED", None: ""}[self.is_met]
        return (
            f"| {self.name} | {self.value:,.4g} {self.unit} | {self.yardstick}: {self.yardstick_value:,.4g} {self.unit} "
            f"| {ratio} | {self.bar} | {verdict} |"
        )


def show(figures: Iterable[Figure]) -> int:
    """Print the table as the figures come; the number of bars that were missed."""
    print(
        "| figure | measured | yardstick, same run | ratio | bar | |\n| --- | --- | --- | --- | --- | --- |", flush=True
    )
    missed = 0
    for figure in figures:
        print(figure.row(), flush=True)
        missed += figure.is_met is False
    return missed


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which that share of the values lies, nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def note(text: str) -> None:
    """Say on standard error what goes on."""
    print(text, file=sys.stderr, flush=True)
