"""The figures of the report."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks import results

# Okabe & Ito 2008: told apart with each kind of colour vision; line styles tell them apart in grey
COLOURS = {
    "nbvae": "#0072B2",
    "plain": "#56B4E9",
    "scvi": "#D55E00",
    "scvi lr=3e-3": "#E69F00",
    "scvi lr=5e-3": "#CC79A7",
    "scvi lr=1e-2": "#000000",
}


def draw(runs: pd.DataFrame, folder: Path) -> None:
    """Draw what there are results for."""
    plt.switch_backend("agg")
    for kind, drawn, name in [("quality", curves, "curves"), ("speed", scaling, "scaling")]:
        if kind in set(runs.kind):
            figure = drawn(runs[runs.kind == kind])
            if figure.axes:
                figure.savefig(folder / f"{name}.png", dpi=150)


def curves(runs: pd.DataFrame) -> Figure:
    """Held-out −ELBO against training seconds, a panel per data set, a line per run."""
    sets = list(results.curves(runs).groupby("data", sort=False))
    size = (max(6, 5 * len(sets)), 5)
    figure, axes = plt.subplots(1, len(sets), figsize=size, squeeze=False, layout="constrained")
    for ax, (data, points) in zip(axes[0], sets, strict=True):
        panel(ax, points)
        ax.set(title=data, xlabel="training time, seconds", ylabel="held-out −ELBO, nats per cell")
    legends = [ax.get_legend_handles_labels() for ax in axes[0]]
    largest = max(legends, key=lambda legend: len(legend[1]))
    figure.legend(*largest, loc="outside lower center", ncols=3, frameon=False)
    return figure


def panel(ax: Axes, points: pd.DataFrame) -> None:
    """Draw the runs on a data set; the last point of each is the final weights."""
    for (rival, seed), run in points.groupby(["rival", "seed"], sort=False):
        colour = COLOURS.get(rival.partition(",")[0], "#777777")
        style = "--" if rival == "plain" else ":" if "no warm-up" in rival else "-"
        label = rival if seed == 0 else None
        ax.plot(run.seconds, run.neg_elbo, style, color=colour, lw=1.2, label=label)
        ax.plot(run.seconds.iloc[-1], run.neg_elbo.iloc[-1], "o", color=colour, ms=4)
    best = points.neg_elbo.min()
    worst = max(best + 10, points.groupby(["rival", "seed"]).neg_elbo.last().max())
    ax.set_ylim(best - 3, min(worst + 5, best + 80))  # curves start hundreds of nats above
    ax.set_xscale("log")
    plain_numbers(ax.xaxis)


def scaling(runs: pd.DataFrame) -> Figure:
    """Seconds per epoch against cells and against genes."""
    figure = plt.figure(figsize=(9, 4), layout="constrained")
    tables = {axis: results.scaling(runs, axis) for axis in ("n_cells", "n_genes")}
    for place, (axis, table) in enumerate(tables.items(), 1):
        if table.empty:
            continue
        ax = figure.add_subplot(1, 2, place)
        for rival, seconds in table.items():
            label = f"{rival}, exponent {results.exponent(seconds):.2f}"
            ax.loglog(seconds.index, seconds, "o-", color=COLOURS[rival], label=label)
        ax.legend(frameon=False)
        ax.set(xlabel=axis.removeprefix("n_"), ylabel="seconds per epoch")
        plain_numbers(ax.xaxis)
        plain_numbers(ax.yaxis)
    return figure


def plain_numbers(axis: Axis) -> None:
    """Label a logarithmic axis 1, 2, 5, 10, … instead of with powers of ten."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:,g}")
