"""Checks for chapter 1, counts."""

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy import stats

from nbvae import datasets
from nbvae.teaching.exercises._check import Diagnosis, exercise, inputs, solved
from nbvae.teaching.exercises._drawing import SIGMAS, fits, generator_slip
from nbvae.teaching.exercises._formula import Formula, formula
from nbvae.teaching.exercises._reading import array, compare, sequence

N_CELLS, N_GENES = 200, 50


@exercise("1.1", "every molecule had its own coin.")
def check_thin(thin: Callable) -> Diagnosis:
    """Thin a table of small and large counts: each must become binomial, on its own."""
    rng = inputs()
    counts = rng.permuted(np.tile([0, 1, 2, 3, 8, 30], (400, 5)), axis=1)
    for p in rng.uniform([0.12, 0.6], [0.2, 0.7]).tolist():
        thinned = array(thin(counts.copy(), p, np.random.default_rng(0)), counts.shape, "the table")
        complaint = (
            _thinned_wrongly(thinned, counts, p)
            or _tied(thinned, counts)
            or _not_binomial(thinned, counts, p)
        )
        if complaint:
            return complaint
    few = counts[:20]
    totals = [array(thin(few.copy(), p, np.random.default_rng(s))).sum() for s in (3, 4, 5, 6)]
    if np.ptp(totals) == 0 and not np.array_equal(thin(few, p, rng), thin(few, p, rng)):
        return "exactly the share p of all molecules stays; with coins their number varies."
    return generator_slip(lambda r: thin(few.copy(), p, r))


def _thinned_wrongly(thinned: np.ndarray, counts: np.ndarray, p: float) -> Diagnosis:
    if (thinned != np.rint(thinned)).any():
        return "these are not whole numbers: a molecule is kept or lost, not shrunk."
    if (thinned < 0).any():
        return "some counts are below 0: a molecule is kept or lost."
    if (thinned > counts).any():
        return "some counts have grown: a draw with a mean of p·x is not enough."
    kept = thinned.sum() / counts.sum()
    if abs(kept - p) < 0.02:
        return None
    if abs(kept - (1 - p)) < 0.02:
        return "p is the probability to be kept, not to be lost."
    if abs(thinned[counts == 30].mean() / 30 - p) < 0.02:
        return None  # it is the small counts that are off: _not_binomial says how
    return f"on average {p:.0%} should stay, not {kept:.0%}."


def _tied(thinned: np.ndarray, counts: np.ndarray) -> Diagnosis:
    """Totals of cells and genes scatter as much as independent counts, however those scatter."""
    same = {n: thinned[counts == n] for n in np.unique(counts)}
    mean, variance = (np.vectorize({n: f(t) for n, t in same.items()}.get)(counts)
                      for f in (np.mean, np.var))  # fmt: skip
    for axis, name in ((1, "cell"), (0, "gene")):
        spread = np.maximum(variance.sum(axis=axis), 1e-12)
        ratio = ((thinned - mean).sum(axis=axis) ** 2 / spread).mean()
        if spread.min() < 1e-9:
            continue
        if ratio < 0.1:
            return f"each {name} keeps the share p of its total exactly; with coins it varies."
        if ratio > 1 + SIGMAS * np.sqrt(2 / len(spread)):
            return f"the counts of a {name} share their coins; each molecule should have its own."
    return None


def _not_binomial(thinned: np.ndarray, counts: np.ndarray, p: float) -> Diagnosis:
    """Look at all counts of one size."""
    if all(np.ptp(thinned[counts == n]) == 0 for n in (1, 2, 30)):
        return "every count lost the same share: where is the chance?"
    if all(np.isin(thinned[counts == n], [0, n]).all() for n in (2, 3, 8)):
        return "whole counts are kept or lost together; each molecule should have its own coin."
    for n in (1, 2, 3, 8, 30):
        left = thinned[counts == n]
        if not fits(left, stats.binom.pmf(np.arange(n + 1), n, p)):
            return (
                f"of {n} molecules nothing is left in {(left == 0).mean():.0%} of the cases, where "
                f"coins leave nothing in {(1 - p) ** n:.0%}: a draw from another distribution, "
                "rounded or cut off at x, is no toss of x coins."
            )
    return None


@formula(
    "1.2", "the share to the power of the factor: fast for a common gene, slowly for a rare one."
)
def _zeros_at_depth() -> Formula:
    """Compare with scipy's Poisson distribution."""
    rng = inputs()
    means, factors = rng.uniform([0.2, 1.5, 0.03], [0.4, 2.5, 0.08]), [2.0, 0.5, 10.0]
    cases = [(float(stats.poisson.pmf(0, m)), f) for m, f in zip(means, factors, strict=True)]
    slips = {
        "the zeros are divided by the factor; a mean twice as large does not halve them":
        lambda z, f: z / f,
        "this is the share of cells that are not 0": lambda z, f: 1 - z**f,
        "the cells that are not 0 are multiplied; they can't become more than all":
        (lambda z, f: 1 - f * (1 - z), lambda z, f: max(0.0, 1 - f * (1 - z))),
        "this is for an experiment that is less deep by the factor": lambda z, f: z ** (1 / f),
        "this is the mean, not the share of zeros": (
            lambda z, f: -f * np.log(z), lambda z, f: f * np.log(z)
        ),
        "the share of zeros is taken for the mean: a mean μ gives a share of e^(−μ)":
        lambda z, f: np.exp(-f * z),
        "the mean was not multiplied": lambda z, f: z,
        "a factor times a share is not a share": lambda z, f: f * z,
    }  # fmt: skip
    return Formula(
        lambda z, f: stats.poisson.pmf(0, f * -np.log(z)),
        cases,
        slips,
        names=("zeros", "factor"),
    )


@exercise("1.3", "1 for Poisson counts, whatever the libraries.")
def check_poisson_index(poisson_index: Callable) -> Diagnosis:
    """Ask for the values of some genes, whose mean differs."""
    rng = inputs()
    cases = []
    for share in (0.01, 0.002, 0.05):
        library = rng.integers(300, 1700, 90).astype(float)
        cases.append((rng.negative_binomial(2, 2 / (2 + share * library)).astype(float), library))
    for counts, library in cases:
        if array(poisson_index(counts.copy(), library.copy())).size > 1:
            return "it is one number for the gene, not one for each cell."
    slips = {
        "this is variance over mean: the libraries are left out":
        (lambda c, s: c.var() / c.mean(), lambda c, s: c.var(ddof=1) / c.mean()),
        "each square is divided by its own expectation; divide the sum by the sum":
        (lambda c, s: np.mean(_squares(c, s) / _expected(c, s)),
         lambda c, s: np.sum(_squares(c, s) / _expected(c, s))),
        "the share is the mean of the cells' shares, in which small cells count too much":
        lambda c, s: _index(c, s, (c / s).mean()),
        "this is the sum of squares; divide by the sum of the expectations":
        lambda c, s: _squares(c, s).sum(),
        "this is the mean square; divide by the mean expectation":
        lambda c, s: _squares(c, s).mean(),
        "the deviations are not squared; with their signs they cancel":
        (lambda c, s: 0.0, lambda c, s: abs(c - _expected(c, s)).sum() / c.sum()),
        "the libraries are divided out before; then small cells scatter more than Poisson":
        (lambda c, s: _normalised(c, s).var() / _normalised(c, s).mean(),
         lambda c, s: _normalised(c, s).var(ddof=1) / _normalised(c, s).mean()),
        "this is the inverse: the squares belong on top":
        lambda c, s: c.sum() / _squares(c, s).sum(),
        "the root of the index is not the index":
        lambda c, s: np.sqrt(_squares(c, s).sum() / c.sum()),
    }  # fmt: skip
    return compare(lambda c, s: poisson_index(c.copy(), s.copy()), _index_by_loop, cases, slips)


def _index_by_loop(counts: np.ndarray, library: np.ndarray) -> float:
    share = sum(counts) / sum(library)
    return sum((c - share * n) ** 2 for c, n in zip(counts, library, strict=True)) / sum(counts)


def _expected(counts: np.ndarray, library: np.ndarray) -> np.ndarray:
    return library * counts.sum() / library.sum()


def _squares(counts: np.ndarray, library: np.ndarray) -> np.ndarray:
    return (counts - _expected(counts, library)) ** 2


def _normalised(counts: np.ndarray, library: np.ndarray) -> np.ndarray:
    return counts / library * library.mean()


@exercise("1.4", "a significant difference between cells that you know to be alike.")
def check_spurious(spurious: Callable) -> Diagnosis:
    """Test the two groups by shares, which should agree, and by logs, which should not."""
    drawn = []
    for rng in inputs().spawn(4):
        groups = sequence(spurious(rng), ("two groups", "their counts"))
        for group in groups:
            array(group, (N_CELLS, N_GENES), "each group")
        drawn.append(np.stack([array(group) for group in groups]))
    if any((group < 0).any() or (group != np.rint(group)).any() for group in drawn):
        return "these are not counts."
    if (drawn[0].sum(axis=2) > 0).mean(axis=1).min() < 0.5:
        return "most cells of a group are empty: that would be noticed."
    fresh = [d for i, d in enumerate(drawn) if not any(np.array_equal(d, e) for e in drawn[:i])]
    tables = np.sum(fresh, axis=0).sum(axis=1)
    if stats.chi2_contingency(tables[:, tables.sum(axis=0) > 0]).pvalue < 1e-4:
        return "the shares differ, so there is something to discover."
    found = min(_found_by_logs(*groups) for groups in drawn)
    if found <= 0.5:
        return f"the shares agree, but only {found:.0%} of the genes differ by their logarithms."
    return None


def _found_by_logs(first: np.ndarray, second: np.ndarray) -> float:
    """The share of genes whose log-normalised means differ."""
    groups = (group[group.sum(axis=1) > 0] for group in (first, second))
    logs = [np.log1p(1e4 * g / g.sum(axis=1, keepdims=True)) for g in groups]
    return float((stats.ttest_ind(*logs, equal_var=False).pvalue < 0.05 / N_GENES).mean())


@exercise("1.5", "above the line, and not because of one cell.")
def check_noisy_gene(noisy_gene: Callable) -> Diagnosis:
    """Compute the index of the gene in the B cells of the sample, with and without the top cell."""
    name = np.asarray(solved(noisy_gene()), dtype=object).ravel()
    if name.size != 1:
        return f"one name was asked for, not {name.size}."
    if not isinstance(name[0], str):
        return f"the name of a gene was asked for, a string, not {name[0]!r}."
    x, genes = _b_cells()
    if (gene := str(name[0])) not in genes:
        return f"{gene!r} is not among the {len(genes)} genes of the sample."
    counts, library = x[:, genes.index(gene)], x.sum(axis=1)
    if counts.sum() == 0:
        return f"{gene} has no counts in the B cells."
    if (value := _index(counts, library)) <= 2:
        return f"the index of {gene} in the B cells is {value:.2f}; it should be above 2 in them."
    top = counts.argmax()
    if (value := _index(np.delete(counts, top), np.delete(library, top))) <= 2:
        return f"{gene} owes it to one cell: without that, the index is {value:.2f}."
    return None


@cache
def _b_cells() -> tuple[np.ndarray, list[str]]:
    adata = datasets.pbmc68k_sample()
    x = adata.X[(adata.obs["cell_type"] == "CD19+ B").to_numpy()].toarray()
    return x, list(adata.var_names)


def _index(counts: np.ndarray, library: np.ndarray, share: float | None = None) -> float:
    """Σ(x − ℓρ)² / Σ ℓρ."""
    share = counts.sum() / library.sum() if share is None else share
    return float(((counts - share * library) ** 2).sum() / max(share * library.sum(), 1e-12))
