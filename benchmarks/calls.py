"""Which genes are called, and which of the calls are false, where the truth is known."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import stats

from benchmarks import data

DELTA = 0.25  # a call is false where the LFC is below it, or of the other sign
Found = tuple[np.ndarray, np.ndarray]  # of each gene: at which FDR it is called, and its LFC


def kept_of(n_genes: int, rng: np.random.Generator) -> np.ndarray:
    """Draw which share of its molecules each gene keeps in either group: a fifth lose some."""
    kept = np.ones((2, n_genes))
    chosen = rng.permutation(n_genes)[: n_genes // 5]
    for side in (0, 1):
        mine = chosen[side::2]
        kept[side, mine] = 2.0 ** -(0.3 + rng.exponential(1.0, len(mine)))
    return kept


def fdr_and_lfc(table: pd.DataFrame, adata: AnnData) -> Found:
    """Take both out of the package's table, in the order of the genes."""
    table = table.loc[adata.var_names]
    return table["expected_fdr"].to_numpy(), table["lfc_mean"].to_numpy()


def wilcoxon(adata: AnnData, rows1: np.ndarray, rows2: np.ndarray) -> Found:
    logs = data.logged(adata.X.toarray())
    with np.errstate(invalid="ignore", divide="ignore"):
        p = stats.mannwhitneyu(logs[rows1], logs[rows2], use_continuity=False).pvalue
    return adjusted(p), logs[rows1].mean(axis=0) - logs[rows2].mean(axis=0)


def sums(adata: AnnData, parts: Iterable[np.ndarray]) -> np.ndarray:
    """Add up the counts of the cells of each part, (parts, G)."""
    return np.stack([np.asarray(adata.X[rows].sum(axis=0)).ravel() for rows in parts])


def welch(*sides: np.ndarray) -> Found:
    """Compare log₂ shares of two groups of sums, (parts, G), by Welch's t-test."""
    one, other = (np.log2((s + 0.5) / (s.sum(axis=1, keepdims=True) + 1)) for s in sides)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = stats.ttest_ind(one, other, equal_var=False).pvalue
    return adjusted(p), one.mean(axis=0) - other.mean(axis=0)


def adjusted(p: np.ndarray) -> np.ndarray:
    return np.asarray(stats.false_discovery_control(np.nan_to_num(p, nan=1.0)))


def count(fdr: np.ndarray, lfc: np.ndarray, truth: np.ndarray, level: float) -> dict[str, int]:
    """Count the genes called, and those of them whose true LFC is small, or of the other sign."""
    called = fdr <= level
    false = called & (np.sign(lfc) * truth < DELTA)
    return {"called": int(called.sum()), "false": int(false.sum())}


def true_and_false(runs: pd.DataFrame, by: list[str]) -> tuple[pd.Series, pd.Series]:
    """Write true calls, a mean over seeds, and the share of false ones among all calls."""
    groups = runs.assign(true=runs.called - runs.false).groupby(by, sort=False)
    share = groups.false.sum() / groups.called.sum().clip(lower=1)
    return groups.true.mean().map("{:.0f}".format), share.map("{:.1%}".format)
