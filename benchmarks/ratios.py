"""Numbers of the report: paired ratios, seconds to a target, exponents."""

import math
import statistics
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from benchmarks import results


class Spread(NamedTuple):
    """The median of some runs, and the range that they lie in."""

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        """Sum up at least one value."""
        return cls(statistics.median(values), min(values), max(values), len(values))


class Race(NamedTuple):
    """Who reached a target, and when; all of the same seed."""

    target: float  # nats a cell
    theirs: float  # seconds
    ours: float | None  # None: never


def paired(records: list[dict], rival: str, base: str, field: str) -> Spread | None:
    """Divide a rival's number by the base's, round by round."""
    over, under = results.of(records, rival), results.of(records, base)
    ratios = [over[seed][field] / under[seed][field] for seed in sorted(over.keys() & under.keys())]
    return Spread.of(ratios) if ratios else None


def first_at(record: dict, target: float) -> float | None:
    """Say after how many seconds a curve is at the target or below for the first time."""
    return next((seconds for _, seconds, value in record["points"] if value <= target), None)


def races(records: list[dict], tuned: Collection[str] = ()) -> list[Race]:
    """Race to where scvi-tools ends by default, or to the best that its named rivals reached.

    The second target is the lowest point of all their curves, and its time is the time of that
    point: the choice of the settings and of when to stop is made for it.
    """
    ours = results.of(records, "nbvae")
    found = []
    for seed, theirs in results.of(records, "scvi").items():
        if seed not in ours:
            continue
        if tuned:
            runs = [r for r in records if r["rival"] in tuned and r["seed"] == seed]
            target, seconds = min((value, s) for run in runs for _, s, value in run["points"])
        else:
            target = theirs["points"][-1][2]
            seconds = first_at(theirs, target)
        found.append(Race(target, seconds, first_at(ours[seed], target)))
    return found


def exponent(sizes: list[float], seconds: list[float]) -> float:
    """Fit seconds ~ size^exponent by least squares on the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def scaling(records: list[dict], rival: str, axis: str) -> tuple[list[int], list[float]]:
    """Collect sizes along an axis, "n_cells" or "n_genes", and the median seconds an epoch.

    Of the generated sets, those that share their other size with most others.
    """
    other = "n_genes" if axis == "n_cells" else "n_cells"
    runs = [r for r in records if r["kind"] == "speed" and r["data"][0].isdigit()]
    runs = [r for r in runs if r["rival"] == rival]
    by_size: dict[int, dict[int, list[float]]] = {}
    for run in runs:
        by_size.setdefault(run[other], {}).setdefault(run[axis], []).append(run["epoch_s"])
    if not by_size:
        return [], []
    line = max(by_size.values(), key=len)
    sizes = sorted(line)
    return sizes, [statistics.median(line[size]) for size in sizes]


def significant(value: float, digits: int = 3) -> str:
    """Write a number with so many significant digits, without an exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"
