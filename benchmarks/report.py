"""results/README.md, made from the results by code: no number in it is typed.

A section is a function: its documentation is what the report says, what it returns is the table.
"""

import inspect
from collections.abc import Callable, Iterator

import pandas as pd

from benchmarks import results
from benchmarks.plan import PCAS
from benchmarks.results import document, ranged, section, significant


def text(runs: pd.DataFrame) -> str:
    """Compose the report of what there is."""
    parts = [f"# {inspect.getdoc(measured)}", measured(runs)]
    for table, kinds in SECTIONS:
        if kinds[0] in set(runs.kind):
            parts.append(section(table, runs[runs.kind.isin(kinds)]))
    return document(*parts)


def measured(runs: pd.DataFrame) -> str:
    """Measured

    Written by `python -m benchmarks.run`, whose first lines say how everything is counted; do not
    edit. Medians of runs in processes of their own, in turns, with the range in brackets; ratios
    are of runs of the same round. Data called 3000x2000 (cells × genes) are generated, see
    `../data.py`; "sample" are 700 real cells.

    ## Measured on
    """
    states = pd.DataFrame(runs.machine.tolist(), runs.index)
    states = states.assign(threads=runs.threads, device=runs.device).sort_index().drop_duplicates()
    lines = [", ".join(f"{k} {v}" for k, v in row.dropna().items()) for _, row in states.iterrows()]
    mixed = "\n\nRuns of more than one state are mixed here." if len(lines) > 1 else ""
    return "\n".join(f"- {line}" for line in lines) + mixed


def speed(runs: pd.DataFrame) -> pd.DataFrame:
    """## Speed

    `plain` is nbvae without its shortcut, by the same trainer; `textbook` is the same with
    `torch.distributions.NegativeBinomial` for the likelihood. An epoch is nine tenths of the cells
    in minibatches of 128; nbvae's has its evaluation of the other tenth in it.
    """
    runs = runs[runs.data.isin(runs.data[runs.rival == "plain"])]  # others are for the scaling
    base = runs[runs.rival == "nbvae"].set_index(["data", "seed"]).epoch_s.rename("base")
    runs = runs.join(base, on=["data", "seed"])
    runs = runs.assign(ratio=runs.epoch_s / runs.base, zeros=runs.zeros.map("{:.0%}".format))
    columns = {
        "time ÷ nbvae's": ("ratio", lambda ratios: spread(ratios, "×")),
        "s per epoch": ("epoch_s", spread),
        "peak MB": ("memory_mb", rounded(0)),
        "of it before the fit": ("memory_before_mb", rounded(0)),
        "runs": ("seed", "size"),
    }
    return runs.groupby(["data", "zeros", "rival"], sort=False).agg(**columns).reset_index()


def time_to(runs: pd.DataFrame) -> pd.DataFrame:
    """## Time to a quality

    Seconds until the −ELBO of cells that no rival saw is, for the first time, as low as where
    scvi-tools' default run ends; and as low as the lowest point of all its curves, first over
    learning rates alone (1e-3, 3e-3, 5e-3, 1e-2), then with its KL warm-up switched off as well. Of
    these only the winning run counts for its time.

    ![Curves of held-out −ELBO](curves.png)
    """
    rows = []
    for data, points in results.curves(runs).groupby("data", sort=False):
        ours = points[points.rival == "nbvae"]
        for goal, theirs, targets in goals(points[points.seed.isin(ours.seed)]):
            our_s, their_s = results.first_at(ours, targets), results.first_at(theirs, targets)
            missed = len(targets) - len(our_s)
            note = f" (not reached in {missed} of {len(targets)})" if missed else ""
            sooner, target = spread(their_s / our_s, "×") + note, f"{targets.median():.1f}"
            rows.append([data, goal, sooner, target, spread(their_s), spread(our_s), len(targets)])
    columns = ["data", "until scvi-tools'", "how much sooner", "target, nats"]
    return pd.DataFrame(rows, columns=[*columns, "scvi-tools, s", "nbvae, s", "runs"])


def goals(points: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, pd.Series]]:
    """Yield targets, nats per cell for each seed, with the curves of scvi-tools that set them."""
    scvi = points[points.rival.str.startswith("scvi")]
    rates = scvi[~scvi.rival.str.contains("no warm-up")]
    default = scvi[scvi.rival == "scvi"]
    yield "its default result", default, default.groupby("seed").neg_elbo.last()
    if rates.rival.nunique() > 1:
        yield "its best over learning rates", rates, rates.groupby("seed").neg_elbo.min()
    if len(scvi) > len(rates):
        yield "its best, also without its warm-up", scvi, scvi.groupby("seed").neg_elbo.min()


def quality(runs: pd.DataFrame) -> pd.DataFrame:
    """## Quality

    Of cells that no rival saw, nats per cell, lower is better: −ELBO = reconstruction + KL at the
    end of the run, the lowest point of its curve, where one who knew these cells would have
    stopped, and the importance-weighted bound with 200 draws (500 cells at most). A latent
    dimension is in use if its mean KL to the prior is above 0.1. Against cell types, higher is
    better: ARI of k-means with ten clusters, and how many cells their 15 nearest neighbours give
    the right type. PCA is of ten components; seeds choose the start of k-means, the folds and, of
    large sets, the cells.
    """
    lowest = runs.points.dropna().map(lambda points: min(value for _, _, value in points))
    runs = runs.assign(lowest=lowest, rival=runs.rival.replace(PCAS))
    columns = {
        "−ELBO": ("neg_elbo", rounded(1)),
        "lowest on the way": ("lowest", rounded(1)),
        "reconstruction": ("reconstruction", rounded(1)),
        "KL": ("kl", rounded(1)),
        "bound": ("bound", rounded(1)),
        "dimensions in use": ("dimensions_in_use", rounded(0)),
        "ARI": ("ari", rounded(2, ends=True)),
        "15 neighbours": ("neighbours", rounded(2, ends=True)),
        "seconds": ("fit_s", rounded(1)),
        "epochs": ("epochs", rounded(0)),
    }
    return runs.groupby(["data", "rival"], sort=False).agg(**columns).reset_index()


def scaling(runs: pd.DataFrame) -> pd.DataFrame:
    """## Scaling

    Exponent of a power law fitted to the seconds per epoch.

    ![Seconds per epoch against cells and against genes](scaling.png)
    """
    rows = []
    for axis in ("n_cells", "n_genes"):
        for rival, seconds in results.scaling(runs, axis).items():
            points = ", ".join(f"{size:,}: {significant(s)}" for size, s in seconds.items())
            exponent = f"{results.exponent(seconds):.2f}"
            rows.append((axis.removeprefix("n_"), rival, exponent, points))
    return pd.DataFrame(rows, columns=["against", "rival", "exponent", "s per epoch"])


def floor(runs: pd.DataFrame) -> pd.DataFrame:
    """## Floor

    A step of nbvae, with its loading, against dense matrix products and memory traffic at the rates
    that this machine has for them; what is counted is in `../costs.py`.
    """
    fields = "step_over_floor step_ms floor_ms products_ms transfers_ms gflops gigabytes_per_second"
    table = runs.groupby("data", sort=False)[fields.split()].agg(spread).reset_index()
    renamed = table.columns.str.replace("_ms", ", ms").str.replace("_over_", " ÷ ")
    return table.set_axis(renamed.str.replace("_", " "), axis="columns")


def shares(runs: pd.DataFrame) -> pd.DataFrame:
    """## Where the time goes

    Shares of the time that PyTorch's profiler sees, over four epochs.
    """
    found = pd.DataFrame(runs.shares.tolist(), [runs.data, runs.rival])
    medians = found.groupby(["data", "rival"], sort=False).median()
    return medians.map("{:.0%}".format).reset_index()


def operators(runs: pd.DataFrame) -> pd.DataFrame:
    """## Operators

    Time of one operator on 128 × 2,000 numbers, a multiplication being 1.
    """
    medians = pd.DataFrame(runs.operators.tolist()).median().map(significant)
    return medians.rename_axis("operator").reset_index(name="time ÷ a multiplication's")


SECTIONS: list[tuple[Callable[[pd.DataFrame], pd.DataFrame], list[str]]] = [
    (speed, ["speed"]),
    (time_to, ["quality"]),
    (quality, ["quality", "pca"]),
    (scaling, ["speed"]),
    (floor, ["floor"]),
    (shares, ["shares"]),
    (operators, ["operators"]),
]


def spread(values: pd.Series, unit: str = "") -> str:
    """Write the median with three digits, and the range."""
    values = values.dropna()
    if len(values) > 1:
        return ranged(significant, "median", unit)(values)
    return significant(values.item()) + unit if len(values) else "–"


def rounded(decimals: int, *, ends: bool = False) -> Callable[[pd.Series], str]:
    """Write the median with so many decimals, and the range; nothing if there is none."""

    def write(values: pd.Series) -> str:
        if values.isna().all():
            return ""
        median, low, high = (f"{v:,.{decimals}f}" for v in values.quantile([0.5, 0, 1]))
        return f"{median} ({low} to {high})" if ends and low != high else median

    return write
