"""Donors that differ, and groups that do not: `python -m benchmarks.donors`.

Semi-simulated: the 369 myeloid cells of the sample are dealt to six donors, three to a group, and
each donor keeps a molecule of gene g with a probability of its own, 0.6 · 2^(s · normal), at most
1. So donors differ, as people and days do, by s on the log₂ scale. Then either nothing else happens
(every call is false), or a fifth of the genes is thinned in one group or the other, by a factor
that is known. Each seed deals, thins and trains anew. The rules, δ = 0.25, at 5 %:

- by cells: `differential_expression` as it stands. It knows nothing of donors.
- by donors: the same with `replicates="donor"`.
- Wilcoxon: rank sums over cells of log1p of counts at the median library.
- pseudobulk t: the counts of each donor summed; Welch's t-test of log₂ counts per million.
- pseudobulk GLM: the same sums; a quasi-Poisson GLM with the log of the donor's library as an
  offset, its dispersion from Pearson's χ², and Student's t with 4 degrees of freedom.
- pseudobulk limma: the same sums as limma-trend takes them (Smyth 2004,
  doi:10.2202/1544-6115.1027; Law et al. 2014, doi:10.1186/gb-2014-15-2-r29): genes with ten counts
  or more, log₂ counts per million with a prior count of 3, and a t-test in which each gene's
  variance is moderated by those of all genes.

All but the first two are corrected by Benjamini & Hochberg.
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from scipy import stats
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq
from scipy.special import digamma, polygamma

from benchmarks import calls, data, results
from benchmarks.calls import Found, adjusted
from benchmarks.rivals import trained
from nbvae import NBVAE, datasets
from nbvae.expression import differential_expression

SEEDS, FDR, SPREADS = 3, 0.05, (0.0, 0.2, 0.5)
FEWEST, MOST_FREEDOM = 10, 1e6  # counts of a gene; degrees of freedom
DONORS, MYELOID = 6, ("Dendritic", "CD14+ Monocyte")
STORED = results.FOLDER / "donors.csv"
Rule = Callable[[NBVAE, AnnData], Found]


def dealt(seed: int, spread: float, effect: bool) -> tuple[AnnData, np.ndarray]:
    """Return cells with obs["donor"] and obs["group"], and the true LFC of each gene."""
    sample, rng = datasets.pbmc68k_sample(), np.random.default_rng([13, seed])
    pool = sample[np.isin(sample.obs["cell_type"], MYELOID)]
    donor = rng.permutation(np.arange(pool.n_obs) % DONORS)
    kept = calls.kept_of(pool.n_vars, rng) if effect else np.ones((2, pool.n_vars))
    own = np.minimum(0.6 * 2 ** (spread * rng.normal(size=(DONORS, pool.n_vars))), 1)
    counts = pool.X.toarray().astype(int)
    share = counts.sum(axis=0) / counts.sum()
    counts = rng.binomial(counts, (own * kept[np.arange(DONORS) % 2])[donor])
    adata = data.table_of(counts, pool.obs, pool.var)
    adata.obs["donor"] = [f"donor {d}" for d in donor]
    adata.obs["group"] = np.array(["control", "treated"])[donor % 2]
    return adata, np.subtract(*(np.log2(kept) - np.log2((share * kept).sum(1, keepdims=True))))


def by_package(replicates: str | None) -> Rule:
    def called(module: NBVAE, adata: AnnData) -> Found:
        table = differential_expression(
            module, adata, "control", "treated", groupby="group", replicates=replicates
        )
        return calls.fdr_and_lfc(table, adata)

    return called


def by_ranks(_: NBVAE, adata: AnnData) -> Found:
    control = (adata.obs["group"] == "control").to_numpy()
    return calls.wilcoxon(adata, np.flatnonzero(control), np.flatnonzero(~control))


def of_donors(adata: AnnData) -> tuple[np.ndarray, np.ndarray]:
    """Counts of each donor, (donors, G), and which donors are controls."""
    cells = adata.obs.groupby(["group", "donor"], observed=True).indices
    return calls.sums(adata, cells.values()), np.array([group == "control" for group, _ in cells])


def by_t(_: NBVAE, adata: AnnData) -> Found:
    counts, control = of_donors(adata)
    return calls.welch(counts[control], counts[~control])


def by_glm(_: NBVAE, adata: AnnData) -> Found:
    t = glm_t(*of_donors(adata))
    return adjusted(2 * stats.t.sf(abs(t), DONORS - 2)), t


def glm_t(counts: np.ndarray, control: np.ndarray) -> np.ndarray:
    """Compute t of the group's coefficient in a quasi-Poisson GLM with a library offset, (G,).

    With two groups the rates that maximise the likelihood are the groups' shares, so nothing has
    to be iterated. A gene without counts in a group has none, 0.
    """
    library = counts.sum(axis=1, keepdims=True)
    groups = [(counts[which].sum(axis=0), library[which].sum()) for which in (control, ~control)]
    rates = [total / of for total, of in groups]
    mean = library * np.where(control[:, None], *rates)
    with np.errstate(invalid="ignore", divide="ignore"):
        dispersion = ((counts - mean) ** 2 / mean).sum(axis=0) / (len(counts) - 2)
        error = np.sqrt(dispersion * (1 / groups[0][0] + 1 / groups[1][0]))
        t = (np.log(rates[0]) - np.log(rates[1])) / error
    return np.where((groups[0][0] > 0) & (groups[1][0] > 0), t, 0.0)


def by_limma(_: NBVAE, adata: AnnData) -> Found:
    counts, control = of_donors(adata)
    library, seen = counts.sum(axis=1, keepdims=True), counts.sum(axis=0) >= FEWEST
    prior = 3 * library / library.mean()
    logs = np.log2(1e6 * (counts[:, seen] + prior) / (library + 2 * prior))
    found, freedom = moderated_t(logs, control)
    p, t = np.ones(len(seen)), np.zeros(len(seen))
    p[seen] = adjusted(2 * stats.t.sf(abs(found), freedom))
    t[seen] = found
    return p, t


def moderated_t(logs: np.ndarray, control: np.ndarray) -> tuple[np.ndarray, float]:
    """Compute limma's moderated t of two groups, (G,), and its degrees of freedom.

    Smyth 2004: s² ~ σ² χ²(d)/d and σ² ~ s₀² d₀/χ²(d₀), so log s² has the mean
    log s₀² + ψ(d/2) − log(d/2) − ψ(d₀/2) + log(d₀/2) and the variance ψ′(d/2) + ψ′(d₀/2). As in
    limma's fitFDist, log s₀² is a natural cubic spline with four knots in the gene's mean.

    Args:
        logs: (donors, G), log₂ counts per million.
        control: (donors,), which group each is from.

    """
    groups, d = (logs[control], logs[~control]), len(logs) - 2
    variance = sum(((group - group.mean(axis=0)) ** 2).sum(axis=0) for group in groups) / d
    variance = np.maximum(variance, 1e-5 * np.median(variance))
    mean = logs.mean(axis=0)
    knots = np.quantile(mean, [0, 1 / 3, 2 / 3, 1])
    basis = CubicSpline(knots, np.eye(len(knots)), bc_type="natural")(mean)
    level = np.log(variance) - digamma(d / 2) + np.log(d / 2)
    trend = basis @ np.linalg.lstsq(basis, level, rcond=None)[0]
    scatter = ((level - trend) ** 2).sum() / (len(level) - len(knots)) - polygamma(1, d / 2)
    half = prior_freedom(scatter) / 2
    usual = np.exp(trend + digamma(half) - np.log(half))
    steady = (2 * half * usual + d * variance) / (2 * half + d)
    error = np.sqrt(steady * sum(1 / len(group) for group in groups))
    return (groups[0].mean(axis=0) - groups[1].mean(axis=0)) / error, 2 * half + d


def prior_freedom(scatter: float) -> float:
    """Solve ψ′(d₀/2) = scatter for d₀; where variances scatter no more than luck, many."""
    if scatter <= polygamma(1, MOST_FREEDOM / 2):
        return MOST_FREEDOM
    return 2 * float(brentq(lambda half: polygamma(1, half) - scatter, 1e-6, MOST_FREEDOM / 2))


RULES: dict[str, Rule] = {
    "by cells": by_package(None),
    "by donors": by_package("donor"),
    "Wilcoxon": by_ranks,
    "pseudobulk t": by_t,
    "pseudobulk GLM": by_glm,
    "pseudobulk limma": by_limma,
}


def measured() -> Iterator[dict[str, Any]]:
    for seed, spread, effect in product(range(SEEDS), SPREADS, (False, True)):
        adata, truth = dealt(seed, spread, effect)
        module = trained(adata, seed)
        for name, rule in RULES.items():
            count = calls.count(*rule(module, adata), truth, FDR)
            yield {"s": spread, "effect": effect, "rule": name, "seed": seed, **count}
        print(seed, spread, effect, flush=True)


def report(runs: pd.DataFrame) -> str:
    """Tabulate false calls where there is no effect, true and false ones where there is."""
    by = ["s", "rule"]
    none = runs[~runs.effect].groupby(by, sort=False).called
    true, share = calls.true_and_false(runs[runs.effect], by)
    columns = {
        "no effect: calls": none.agg(lambda some: f"{some.mean():.1f} (≤ {some.max()})"),
        "effect: true calls": true,
        "effect: false share": share,
    }
    table = pd.DataFrame(columns).reset_index(names=["donors differ by s", "rule"])
    means = f"Means over {SEEDS} seeds, of 765 genes."
    return results.document("# Donors", results.about(__doc__), means, results.markdown(table))


def main() -> None:
    """Measure everything and write the report."""
    torch.set_num_threads(1)
    runs = pd.DataFrame(measured())
    results.write(STORED, runs, report(runs))


if __name__ == "__main__":
    main()
