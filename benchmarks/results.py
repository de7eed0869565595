"""The results: a line of JSON per run in results/runs.jsonl and gpu.jsonl; how tables look."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.plan import RIVALS

FOLDER = Path(__file__).parent / "results"


def about(benchmark: str | None) -> str:
    """Return what the documentation of a benchmark says under its first line."""
    return (benchmark or "").split("\n", 2)[2].strip()


def markdown(table: pd.DataFrame) -> str:
    """Write a table, a line of text for each of its rows."""
    lines = [table.columns, ["---"] * len(table.columns), *table.to_numpy()]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def mean_and_range(values: pd.Series) -> str:
    """Write the mean, and the range in brackets."""
    low, mean, high = values.agg(["min", "mean", "max"]).round(2) + 0.0  # no −0
    return f"{mean:.2f} ({low:.2f} to {high:.2f})"


def stored(folder: Path, name: str = "runs.jsonl") -> list[dict[str, Any]]:
    file = folder / name
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


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
