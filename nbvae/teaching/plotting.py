"""The few figures that chapters share, and one look for all of them."""

import inspect
import textwrap
from collections.abc import Callable, Sequence
from html import escape

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib.axes import Axes

# Paul Tol's "muted" scheme: ten colours that stay apart for colour-blind readers
PALETTE = (
    "#332288", "#88CCEE", "#44AA99", "#117733", "#999933",
    "#DDCC77", "#CC6677", "#882255", "#AA4499", "#777777",
)  # fmt: skip
MARKERS = "o^s"  # for groups beyond ten, with the same colours
TRAIN, HELD_OUT, ACCENT = "#332288", "#CC6677", "#117733"


def use_style() -> None:
    """Set the look of the book's figures for the rest of the notebook."""
    plt.rcParams.update(
        {
            "figure.figsize": (7.0, 3.4),
            "figure.dpi": 144,
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": "medium",
            "axes.prop_cycle": cycler(color=PALETTE),
            "legend.frameon": False,
            "font.size": 9.5,
        }
    )


def learning_curves(history: pd.DataFrame, *, ax: Axes, best_epoch: int | None = None) -> None:
    """Draw the negative ELBO of training and held-out cells against the epoch.

    Args:
        history: what ``Trainer.fit`` returned.
        ax: where to draw.
        best_epoch: marked with a line, if given.

    """
    ax.plot(history["train_neg_elbo"], color=TRAIN, label="training cells")
    ax.plot(history["held_out_neg_elbo"], color=HELD_OUT, label="held-out cells")
    if best_epoch:
        ax.axvline(best_epoch, color="0.5", ls=":", lw=1, label=f"best epoch, {best_epoch}")
    ax.set(xlabel="epoch", ylabel="−ELBO (nats per cell)")
    ax.legend()


def scatter_groups(
    points: np.ndarray, groups: pd.Series, *, ax: Axes, title: str = "", legend: bool = True
) -> None:
    """Draw cells in two dimensions, coloured by group.

    Args:
        points: (n_cells, 2).
        groups: (n_cells,), categorical; beyond ten categories another marker tells colours apart.
        ax: where to draw.
        title: above the axes.
        legend: whether to list the groups beside the axes.

    """
    for number, group in enumerate(groups.cat.categories):
        inside = (groups == group).to_numpy()
        turn, colour = divmod(number, len(PALETTE))
        x, y = points[inside].T
        marker = MARKERS[turn % len(MARKERS)]
        ax.scatter(x, y, s=9, linewidths=0, label=group, color=PALETTE[colour], marker=marker)
    _bare(ax, title)
    if legend:
        ax.legend(
            loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2, fontsize="small",
            handletextpad=0.2,
        )  # fmt: skip


def scatter_values(
    points: np.ndarray, values: np.ndarray, *, ax: Axes, title: str = "", label: str = ""
) -> None:
    """Draw cells in two dimensions, coloured by a number; the highest are drawn last.

    Args:
        points: (n_cells, 2).
        values: (n_cells,).
        ax: where to draw.
        title: above the axes.
        label: of the colour bar.

    """
    order = np.argsort(values, kind="stable")
    x, y = points[order].T
    drawn = ax.scatter(x, y, s=9, c=values[order], cmap="viridis", linewidths=0)
    _bare(ax, title)
    ax.figure.colorbar(drawn, ax=ax, shrink=0.7, label=label)


class SideBySide:
    """Two pieces of source code in two columns, or below each other on a narrow screen.

    Args:
        before: a function or class of the notebook; its source is shown.
        after: its repair.
        titles: above the columns.

    """

    def __init__(
        self, before: Callable, after: Callable, titles: Sequence[str] = ("Before", "After")
    ) -> None:
        self.sources = [
            textwrap.dedent(inspect.getsource(code)).strip() for code in (before, after)
        ]
        self.titles = titles

    def __repr__(self) -> str:
        """Text for where there is no HTML."""
        return "\n\n".join(
            f"# {title}\n{source}" for title, source in zip(self.titles, self.sources, strict=True)
        )

    def _repr_html_(self) -> str:
        columns = "".join(
            f'<div style="min-width:0"><p style="margin:0 0 .3em"><strong>{escape(title)}</strong>'
            f'</p><pre style="overflow-x:auto;margin:0"><code>{self._marked(i)}</code></pre></div>'
            for i, title in enumerate(self.titles)
        )
        return (
            '<div class="side-by-side" style="display:grid;gap:1em;'
            f'grid-template-columns:repeat(auto-fit,minmax(min(100%,20em),1fr))">{columns}</div>'
        )

    def _marked(self, i: int) -> str:
        """Escape a source; the lines that the other one lacks are marked."""
        other = {line.strip() for line in self.sources[1 - i].splitlines()}
        return "\n".join(
            escape(line)
            if line.strip() in other or not line.strip()
            else f"<mark>{escape(line)}</mark>"
            for line in self.sources[i].splitlines()
        )


def _bare(ax: Axes, title: str) -> None:
    """UMAP's axes have no unit and no meaning, so they get no ticks."""
    ax.set(xlabel="UMAP 1", ylabel="UMAP 2", xticks=[], yticks=[], title=title)
    ax.set_aspect("equal", adjustable="datalim")
