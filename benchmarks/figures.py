"""The figures of the report."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks import ratios, results

# Okabe & Ito 2008: told apart with each kind of colour vision; line styles tell them apart in grey
STYLES = {
    "nbvae": ("#0072B2", "-"),
    "plain": ("#56B4E9", "--"),
    "textbook": ("#009E73", "--"),
    "scvi": ("#D55E00", "-"),
    "scvi lr=3e-3": ("#E69F00", "-"),
    "scvi lr=5e-3": ("#CC79A7", "-"),
    "scvi lr=1e-2": ("#000000", "-"),
    "scvi lr=3e-3, no warm-up": ("#E69F00", ":"),
    "scvi lr=5e-3, no warm-up": ("#CC79A7", ":"),
    "scvi lr=1e-2, no warm-up": ("#000000", ":"),
}
HEADROOM = 80  # nats above the best that a panel shows at most; curves start at hundreds


def draw(records: list[dict], folder: Path) -> None:
    """Draw what there are results for."""
    folder.mkdir(parents=True, exist_ok=True)
    groups = list(results.by_data(records, "quality"))
    if groups:
        curves(groups, folder / "curves.png")
    if any(len(ratios.scaling(records, "nbvae", axis)[0]) > 1 for axis in ("n_cells", "n_genes")):
        scaling(records, folder / "scaling.png")


def curves(groups: list[tuple[str, list[dict]]], path: Path) -> None:
    """Held-out −ELBO against training seconds, a panel a data set, a line a run."""
    figure, axes = plt.subplots(
        1, len(groups), figsize=(max(6, 5 * len(groups)), 5), squeeze=False, layout="constrained"
    )
    for ax, (name, runs) in zip(axes[0], groups, strict=True):
        for rival in results.rivals_in(runs):
            for number, run in enumerate(results.of(runs, rival).values()):
                curve(ax, run, rival, label=rival if number == 0 else None)
        best = min(value for run in runs for _, _, value in run["points"])
        worst = max(run["points"][-1][2] for run in runs)
        ax.set(
            title=name,
            xscale="log",
            xlabel="training time, seconds",
            ylabel="held-out −ELBO, nats a cell",
            ylim=(best - 3, min(max(worst, best + 10) + 5, best + HEADROOM)),
        )
        plain_numbers(ax.xaxis)
    handles, labels = max(
        (ax.get_legend_handles_labels() for ax in axes[0]), key=lambda h: len(h[1])
    )
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    save(figure, path)


def curve(ax: Axes, run: dict, rival: str, label: str | None) -> None:
    """Draw one run; the last point is the final weights."""
    colour, style = STYLES.get(rival, ("#777777", "-"))
    _, seconds, values = zip(*run["points"], strict=True)
    ax.plot(seconds, values, style, color=colour, lw=1.2, label=label)
    ax.plot(seconds[-1], values[-1], "o", color=colour, ms=4)


def scaling(records: list[dict], path: Path) -> None:
    """Seconds an epoch against cells and against genes, both axes logarithmic."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    for ax, axis in zip(axes, ("n_cells", "n_genes"), strict=True):
        for rival in ("nbvae", "scvi"):
            sizes, seconds = ratios.scaling(records, rival, axis)
            if len(sizes) > 1:
                slope = ratios.exponent(sizes, seconds)
                colour, style = STYLES[rival]
                label = f"{rival}, exponent {slope:.2f}"
                ax.plot(sizes, seconds, style, marker="o", color=colour, label=label)
        name = axis.removeprefix("n_")
        ax.set(xscale="log", yscale="log", xlabel=name, ylabel="seconds an epoch")
        plain_numbers(ax.xaxis)
        plain_numbers(ax.yaxis)
        if ax.lines:
            ax.legend(frameon=False)
    save(figure, path)


def plain_numbers(axis: Axis) -> None:
    """Label a logarithmic axis 1, 2, 5, 10, … instead of with powers of ten."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_locator(NullLocator())


def save(figure: plt.Figure, path: Path) -> None:
    """Write a figure and let go of it."""
    figure.savefig(path, dpi=150)
    plt.close(figure)
