"""What was measured, in results/, and how it is shown: documents, tables, medians with a range."""

import inspect
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.plan import RIVALS

FOLDER = Path(__file__).parent / "results"
Form = str | Callable[[Any], str]  # how a number is written: "{:.1f}", or a function
Columns = dict[str, tuple[str, Form]]  # of a table: by name, what of the results, and how


def keep(file: Path, line: dict[str, Any]) -> None:
    """Add a result to a file, a line of JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(line) + "\n")


def stored(folder: Path, name: str = "runs.jsonl") -> list[dict[str, Any]]:
    file = folder / name
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def write(file: Path, runs: pd.DataFrame, report: str = "", digits: int | None = None) -> None:
    """Write all runs of an experiment and, beside them, what is said of them."""
    runs.to_csv(file, index=False, float_format=None if digits is None else f"%.{digits}f")
    if report:
        file.with_suffix(".md").write_text(report, encoding="utf-8")


def document(*parts: str) -> str:
    """Put paragraphs, tables and sections one under the other; those without text are left out."""
    return "\n\n".join(filter(None, parts)) + "\n"


def section(table: Callable[[pd.DataFrame], pd.DataFrame], runs: pd.DataFrame) -> str:
    """Write what a function's documentation says, then its table; nothing if that has no rows."""
    rows = table(runs)
    return f"{inspect.getdoc(table)}\n\n{markdown(rows)}" if len(rows) else ""


def about(benchmark: str | None) -> str:
    """Return what the documentation of a benchmark says under its first line."""
    return (benchmark or "").split("\n", 2)[2].strip()


def markdown(table: pd.DataFrame) -> str:
    """Write a table, a line of text for each of its rows."""
    lines = [table.columns, ["---"] * len(table.columns), *table.to_numpy()]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def shown(table: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """Write the numbers of some columns."""
    return pd.DataFrame({new: table[old].map(writer(how)) for new, (old, how) in columns.items()})


def ranged(how: Form, middle: str = "mean", unit: str = "") -> Callable[[pd.Series], str]:
    """Return a function that writes the mean, or "median", and the range in brackets."""

    def write(values: pd.Series) -> str:
        mean, low, high = map(writer(how), values.agg([middle, "min", "max"]))
        return f"{mean}{unit} ({low} to {high})"

    return write


def writer(how: Form) -> Callable[[Any], str]:
    return how.format if isinstance(how, str) else how


def significant(value: float) -> str:
    """Write a number with three significant digits, without an exponent."""
    return f"{value:,.{max(0, 2 - math.floor(math.log10(value)))}f}"


def hundredths(value: float) -> str:
    """Write a number with two decimals, and 0 without a sign."""
    return f"{np.round(value, 2) + 0.0:.2f}"


def read(folder: Path = FOLDER) -> pd.DataFrame:
    """Tabulate the results, smaller sets first; of a measurement that was repeated, the last one.

    The index is the number of the line.
    """
    runs = pd.DataFrame(stored(folder))
    runs = runs.drop_duplicates(["kind", "data", "rival", "seed"], keep="last")
    size, place = runs.n_cells * runs.n_genes, runs.rival.map(RIVALS.index)
    return runs.assign(size=size, place=place).sort_values(["size", "data", "place", "seed"])


def curves(runs: pd.DataFrame) -> pd.DataFrame:
    """List the points of the runs' curves: when, and the −ELBO of cells that no rival saw."""
    points = runs[["data", "rival", "seed", "points"]].explode("points", ignore_index=True)
    points[["epoch", "seconds", "neg_elbo"]] = points.pop("points").tolist()
    return points


def first_at(points: pd.DataFrame, targets: pd.Series) -> pd.Series:
    """Find, for each seed, after how many seconds a curve is at its target or below."""
    reached = points[points.neg_elbo <= points.seed.map(targets)]
    return reached.groupby("seed").seconds.min()


def scaling(runs: pd.DataFrame, axis: str) -> pd.DataFrame:
    """Tabulate the median seconds per epoch of the rivals against "n_cells" or "n_genes".

    Of the generated sets, those that share their other size with most others.
    """
    other = "n_genes" if axis == "n_cells" else "n_cells"
    made = runs[runs.data.str.fullmatch(r"\d+x\d+") & runs.rival.isin(["nbvae", "scvi"])]
    line = made[made[other].isin(made.groupby(other)[axis].nunique().nlargest(1).index)]
    table = line.pivot_table("epoch_s", axis, "rival", aggfunc="median").dropna()
    return table if len(table) > 1 else pd.DataFrame()


def exponent(seconds: pd.Series) -> float:
    """Fit seconds ~ size^exponent by least squares on the logarithms."""
    return float(np.polyfit(np.log(seconds.index), np.log(seconds), 1)[0])
