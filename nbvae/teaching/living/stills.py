"""Pictures that stand in for a living figure where no chapter has one already."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from nbvae.teaching.plotting import ACCENT, HELD_OUT, TRAIN

KEPT, SCALE, Z = 0.4, 1e4, 1.645  # as the page begins; nine in ten of a normal distribution


def caught_again(counts: np.ndarray, genes: Mapping[str, int], *, seed: int = 0) -> Figure:
    """Draw a cell's counts, shares and log-normalised values, of all its molecules and of 40 %."""
    thinned = np.random.default_rng(seed).binomial(counts.astype(int), KEPT)
    columns = list(genes.values())
    fig, axes = plt.subplots(1, 3, figsize=(8.5, 3), sharey=True)
    titles = ("counts", "shares (%)", "log(1 + 10,000 · share)")
    for ax, title, colour, before, after in zip(
        axes, titles, (TRAIN, ACCENT, HELD_OUT), views(counts), views(thinned), strict=True
    ):
        place = np.arange(len(columns))
        ax.scatter(before[columns], place, s=30, fc="none", ec="0.5", label="all molecules")
        ax.scatter(after[columns], place, s=14, color=colour, label="40 % of them")
        ax.set_xlabel(title)
        ax.legend(fontsize="x-small")
    low, high = 100 * wilson(thinned, thinned.sum())[:, columns]
    axes[1].hlines(np.arange(len(columns)), low, high, color=ACCENT)
    axes[0].set_yticks(range(len(columns)), list(genes), style="italic")
    axes[0].invert_yaxis()
    return fig


def views(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return counts, shares in per cent and log-normalised values of one cell."""
    shares = counts / counts.sum()
    return counts, 100 * shares, np.log1p(SCALE * shares)


def wilson(counts: np.ndarray, total: float) -> np.ndarray:
    """Return both ends of Wilson's (1927) 90 % intervals for shares, (2, n)."""
    shares, z2 = counts / total, Z**2
    middle = (shares + z2 / (2 * total)) / (1 + z2 / total)
    spread = np.sqrt(shares * (1 - shares) / total + z2 / (4 * total**2))
    half = Z * spread / (1 + z2 / total)
    return np.stack([middle - half, middle + half])
