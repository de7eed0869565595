"""Checks for chapter 1, counts."""

from collections.abc import Callable

import numpy as np
from scipy import stats

from nbvae import datasets
from nbvae.teaching.exercises._check import Diagnosis, close, exercise, solved

N_CELLS, N_GENES = 200, 50


@exercise("1.1", "every molecule had its own coin.")
def check_thin(thin: Callable) -> Diagnosis:
    """Thin many equal counts: mean and variance of a binomial tell it from its relatives."""
    counts, p = np.full((1000, 100), 10), 0.3
    thinned = np.asarray(solved(thin(counts.copy(), p, np.random.default_rng(0))))
    if thinned.shape != counts.shape:
        return f"the shape should stay {counts.shape}, not become {thinned.shape}."
    if (thinned != np.rint(thinned)).any():
        return "these are not whole numbers: a molecule is kept or lost, not shrunk."
    if (thinned > counts).any():
        return "some counts have grown: a draw with a mean of p·x is not enough."
    if close(thinned.mean(), (1 - p) * 10, within=0.02):
        return "p is the probability to be kept, not to be lost."
    if not close(thinned.mean(), p * 10, within=0.02):
        return f"on average {p:.0%} should be kept, not {thinned.mean() / 10:.0%}."
    if thinned.var() < 0.5 * 10 * p * (1 - p):
        return "every count lost the same share: where is the chance?"
    if thinned.var() > 2 * 10 * p * (1 - p):
        return "whole counts are kept or lost together; each molecule should have its own coin."
    if np.array_equal(thinned, thin(counts.copy(), p, np.random.default_rng(1))):
        return "every generator gives the same: draw with rng."
    return None


@exercise(
    "1.2", "the share to the power of the factor: fast for a common gene, slowly for a rare one."
)
def check_zeros_at_depth(zeros_at_depth: Callable) -> Diagnosis:
    """Compare with scipy's Poisson distribution."""
    for mean, factor in [(0.3, 2.0), (2.0, 0.5), (0.05, 10.0)]:
        z = stats.poisson.pmf(0, mean)
        value = float(solved(zeros_at_depth(z, factor)))
        right = stats.poisson.pmf(0, factor * mean)
        if close(value, right):
            continue
        slips = {
            "the zeros are divided by the factor; a mean twice as large does not halve them": z
            / factor,
            "this is the share of cells that are not 0": 1 - right,
            "the cells that are not 0 are multiplied; they can't become more than all": 1
            - factor * (1 - z),
            "this is for an experiment that is less deep by the factor": z ** (1 / factor),
            "this is the mean, not the share of zeros": factor * mean,
        }
        for complaint, slip in slips.items():
            if close(value, slip):
                return f"{complaint}."
        return f"for a share of {z:.3f} and factor {factor:g} it is {right:.3f}, not {value:.3f}."
    return None


@exercise("1.3", "1 for Poisson counts, whatever the libraries.")
def check_poisson_index(poisson_index: Callable) -> Diagnosis:
    """Ask for a value at fixed counts; the slips have other values there."""
    rng = np.random.default_rng(0)
    library = rng.integers(300, 1700, 90).astype(float)
    counts = rng.negative_binomial(2, 2 / (2 + 0.01 * library)).astype(float)
    value = np.asarray(solved(poisson_index(counts.copy(), library.copy())), dtype=float)
    if value.ndim:
        return "it is one number for the gene, not one for each cell."
    share = counts.sum() / library.sum()
    expected = [share * cell for cell in library]
    squares = [(c - e) ** 2 for c, e in zip(counts, expected, strict=True)]
    right = sum(squares) / sum(expected)
    slips = {
        "this is variance over mean: the libraries are left out": counts.var() / counts.mean(),
        "this is variance over mean (with n − 1): the libraries are left out": counts.var(ddof=1)
        / counts.mean(),
        "each square is divided by its own expectation; divide the sum by the sum": np.mean(
            [s / e for s, e in zip(squares, expected, strict=True)]
        ),
        "the share is the mean of the cells' shares, in which small cells count too much": _index(
            counts, library, (counts / library).mean()
        ),
        "this is the sum of squares; divide by the sum of the expectations": sum(squares),
        "this is the mean square; divide by the mean expectation": np.mean(squares),
    }
    if close(float(value), right, within=1e-9):
        return None
    for complaint, slip in slips.items():
        if close(float(value), slip, within=1e-9):
            return f"{complaint}."
    return f"it should be {right:.3f} for the check's gene, not {float(value):.3f}."


@exercise("1.4", "a significant difference between cells of which you know that they are alike.")
def check_spurious(spurious: Callable) -> Diagnosis:
    """Test the two groups by shares, which should agree, and by logs, which should not."""
    groups = [np.asarray(group) for group in solved(spurious(np.random.default_rng(0)))]
    for group in groups:
        if group.shape != (N_CELLS, N_GENES):
            return f"each group should have shape ({N_CELLS}, {N_GENES}), not {group.shape}."
        if (group < 0).any() or (group != np.rint(group)).any():
            return "these are not counts."
    first, second = (group[group.sum(axis=1) > 0].astype(float) for group in groups)
    if len(first) < N_CELLS / 2 or len(second) < N_CELLS / 2:
        return "most cells of a group are empty: that would be noticed."
    tables = np.stack([first.sum(axis=0), second.sum(axis=0)])
    if stats.chi2_contingency(tables[:, tables.sum(axis=0) > 0]).pvalue < 1e-4:
        return "the shares differ, so there is something to discover."
    logs = [np.log1p(1e4 * g / g.sum(axis=1, keepdims=True)) for g in (first, second)]
    p_values = stats.ttest_ind(*logs, equal_var=False).pvalue
    found = (p_values < 0.05 / N_GENES).mean()
    if found <= 0.5:
        return f"the shares agree, but only {found:.0%} of the genes differ by their logarithms."
    return None


@exercise("1.5", "above the line, and not because of one cell.")
def check_noisy_gene(noisy_gene: Callable) -> Diagnosis:
    """Compute the index of the gene in the B cells of the sample, with and without the top cell."""
    name = solved(noisy_gene())
    adata = datasets.pbmc68k_sample()
    if name not in adata.var_names:
        return f"{name!r} is not among the {adata.n_vars} genes of the sample."
    x = adata.X[(adata.obs["cell_type"] == "CD19+ B").to_numpy()].toarray()
    counts, library = x[:, adata.var_names.get_loc(name)], x.sum(axis=1)
    share = counts.sum() / library.sum()
    if counts.sum() == 0:
        return f"{name} has no counts in these cells."
    if (value := _index(counts, library, share)) <= 2:
        return f"the index of {name} in the B cells is {value:.1f}."
    rest = np.delete(counts, counts.argmax()), np.delete(library, counts.argmax())
    if (value := _index(*rest, rest[0].sum() / rest[1].sum())) <= 2:
        return f"{name} owes it to one cell: without that, the index is {value:.1f}."
    return None


def _index(counts: np.ndarray, library: np.ndarray, share: float) -> float:
    """Σ(x − ℓρ)² / Σ ℓρ."""
    return float(((counts - share * library) ** 2).sum() / max(share * library.sum(), 1e-12))
