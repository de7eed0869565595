"""What a trained module says about genes: shares without noise, replicated counts, differences."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from torch import Tensor

from nbvae._arguments import one_of, whole_number
from nbvae._messages import cell_name
from nbvae.data.indices import positions_of
from nbvae.data.minibatches import CellTable, Minibatch
from nbvae.evaluation import BATCH_SIZE, device_of, evaluating
from nbvae.module.protocol import LatentModule

NOT_EXPRESSED = 0.01  # counts per cell; below it scvi-tools, too, says that a gene is not expressed


def denoised(
    module: LatentModule,
    adata: AnnData,
    *,
    layer: str | None = None,
    genes: Any = None,
    covariates: str = "own",
    n_samples: int = 25,
    seed: int = 0,
) -> np.ndarray:
    """Estimate the expected share of each gene in each cell: ρ, averaged over q(z | x).

    Zero inflation is left out: ρ is what a gene's share would be if no count were lost.

    Args:
        module: an ``NBVAE``.
        adata: raw counts of the genes that the module was built for, in any order.
        layer: the layer that holds the counts; the module's own when left out.
        genes: the genes to return, in this order: names, column numbers of ``adata`` or a mask of
            them; all that the module models when left out, in the order of ``adata``.
        covariates: "own" decodes each cell with its own level, "all" with each level in turn and
            averages, so that cells of two batches can be compared. Without covariates both are
            the same.
        n_samples: draws of z for each cell, averaged.
        seed: seed of these draws.

    Returns:
        (n_cells, n_genes), float32. With all genes the rows sum to 1.

    Raises:
        CountsError, TypeError: as in ``CellTable.of``.
        KeyError: a gene, or the layer, is not there.
        ValueError: as in ``CellTable.of``; ``n_samples`` is below 1, ``covariates`` is neither, or
            ``genes`` chooses none or a name that occurs twice.

    """
    n_samples, seed = whole_number("n_samples", n_samples), whole_number("seed", seed, least=None)
    covariates = one_of("covariates", covariates, ("own", "all"))
    table = CellTable.of(adata, module, layer=layer)
    columns = table.gene_columns(genes)
    shares = []
    with evaluating(module, seed=seed):
        for m in table.minibatches(np.arange(adata.n_obs), BATCH_SIZE, device_of(module)):
            decoded_as = _each_level(module, m) if covariates == "all" else [m.covariates]
            total = torch.zeros(())
            for _ in range(n_samples):
                z = module.inference(m.x, covariates=m.covariates).z
                for design in decoded_as:
                    total = total + _px_scale(module, z, m, design)[:, columns]
            shares.append((total / (n_samples * len(decoded_as))).cpu().numpy())
    return np.concatenate(shares)


def posterior_predictive(
    module: LatentModule,
    adata: AnnData,
    *,
    layer: str | None = None,
    n_samples: int = 1,
    seed: int = 0,
) -> np.ndarray:
    """Draw replicated counts of each cell: z from q(z | x), then x from p(x | z, ℓ).

    Each replicate has the cell's own library ℓ as its expected total, and its own covariates.
    What the replicates do as the data do, the model has understood (Gelman, Meng & Stern 1996).

    Args:
        module: an ``NBVAE``.
        adata: raw counts of the genes that the module was built for, in any order.
        layer: the layer that holds the counts; the module's own when left out.
        n_samples: replicates of the whole table.
        seed: seed of the draws.

    Returns:
        (n_samples, n_cells, n_genes), float32, the genes in the order of ``adata``; those that the
        module does not model are left out. That is dense: 4 bytes per entry, so that one
        replicate of 10,000 cells and 2,000 genes takes 80 MB. Draw a few, or a subset of cells.

    Raises:
        CountsError, KeyError, TypeError: as in ``CellTable.of``.
        ValueError: as there, or ``n_samples`` is below 1.

    """
    n_samples, seed = whole_number("n_samples", n_samples), whole_number("seed", seed, least=None)
    table = CellTable.of(adata, module, layer=layer)
    columns = table.gene_columns(None)
    replicates = np.empty((n_samples, table.n_cells, len(columns)), dtype=np.float32)
    start = 0
    with evaluating(module, seed=seed):
        for m in table.minibatches(np.arange(adata.n_obs), BATCH_SIZE, device_of(module)):
            cells = slice(start, start + len(m))
            for replicate in replicates:
                z = module.inference(m.x, covariates=m.covariates).z
                p = module.generative(z, m.library, covariates=m.covariates)
                replicate[cells] = module.likelihood.sample(p).cpu().numpy()[:, columns]
            start += len(m)
    return replicates


def differential_expression(
    module: LatentModule,
    adata: AnnData,
    group1: Any,
    group2: Any,
    *,
    delta: float = 0.25,
    fdr: float = 0.05,
    n_samples: int = 5000,
    seed: int = 0,
    pseudocount: float | None = None,
) -> pd.DataFrame:
    """Find the genes whose share of a cell's counts differs between two groups of cells.

    A pair is a random cell of each group, its z drawn from q, and its shares ρ₁ and ρ₂. Over many
    pairs, LFC = log₂(ρ₁ + c) − log₂(ρ₂ + c) has a distribution, and a gene is different as far as
    |LFC| is probably above δ. Genes are called, the surest first, while the mean of 1 − p over
    those called, the share of false calls that is expected, stays at or below ``fdr``.

    This is the "change" mode of scvi-tools (Lopez et al. 2018; Boyeau et al. 2019,
    doi:10.1101/794289). The same there: pairs, LFC, δ, the rule of the FDR, 5,000 draws. Different:
    p is P(|LFC| > δ), theirs with ``test_mode="two"``; by default they take the larger of
    P(LFC ≥ δ) and P(LFC < −δ). One c serves p and the mean of LFC; theirs is estimated from genes
    that are not expressed, and a thousandth of it serves the mean. With covariates, both cells
    of a pair are decoded with the same random level, so that a difference between batches is none
    between groups; theirs with ``batch_correction=True``. Outlying cells are kept, as by
    default there.

    p speaks of cells, not of donors: with one donor per group it can't tell a group's difference
    from a donor's.

    Args:
        module: an ``NBVAE``.
        adata: raw counts of the genes that the module was built for.
        group1: the cells of the first group: a mask, row numbers or names.
        group2: those of the second.
        delta: δ, the smallest |LFC| that counts as a difference; 0.25 is 19 %.
        fdr: the share of false calls that is accepted.
        n_samples: number of pairs.
        seed: seed of the pairs and of z.
        pseudocount: c, a share; it draws the LFC of genes towards 0 that hardly occur in either
            group. By default the share with which a gene has 0.01 counts in a mean cell.

    Returns:
        One row per gene, the surest first: ``proba_de`` (p), ``lfc_mean`` and ``lfc_std`` (positive
        where group 1 has more), ``scale1`` and ``scale2`` (mean ρ), ``expected_fdr`` (if this gene
        and those above are called) and ``is_de`` (called).

    Raises:
        KeyError: a cell that was named is not there.
        ValueError: a group is empty, chooses no cells, or overlaps the other; a number is out of
            its range.

    """
    _check_de_numbers(delta, fdr, n_samples, pseudocount)
    groups = _checked_groups(adata, group1, group2)
    table = CellTable.of(adata, module)
    if pseudocount is None:
        pseudocount = NOT_EXPRESSED / (table.counts.sum(dtype=float) / adata.n_obs)
    rng = np.random.default_rng(seed)
    pairs = [rng.choice(rows, n_samples) for rows in groups]
    with evaluating(module, seed=seed):
        means = _means_over_pairs(_pairs_of_shares(module, table, pairs), delta, pseudocount)
    genes = pd.DataFrame(means, index=table.genes)
    genes = genes.iloc[np.lexsort([-genes["lfc_mean"].abs(), -genes["proba_de"]])]
    genes["expected_fdr"] = expected_fdr(genes["proba_de"].to_numpy())
    genes["is_de"] = genes["expected_fdr"] <= fdr
    return genes


def expected_fdr(probability: np.ndarray) -> np.ndarray:
    """Compute which share of false calls to expect if genes are called down to each.

    Args:
        probability: (n_genes,), that a call is right, in falling order.

    Returns:
        (n_genes,): the mean of 1 − p over a gene and those before it. It never falls.

    """
    return np.cumsum(1 - probability) / np.arange(1, len(probability) + 1)


def _pairs_of_shares(
    module: LatentModule, table: CellTable, pairs: list[np.ndarray]
) -> Iterator[list[np.ndarray]]:
    """Draw ρ for the cells of pairs, some at a time: two arrays (pairs, n_genes), float64."""
    device = device_of(module)
    both = (table.minibatches(rows, BATCH_SIZE, device) for rows in pairs)
    for sides in zip(*both, strict=True):
        design = _random_levels(module, sides[0])
        yield [
            _px_scale(module, module.inference(m.x, covariates=m.covariates).z, m, design)
            .cpu()
            .double()
            .numpy()
            for m in sides
        ]


def _means_over_pairs(
    pairs: Iterable[list[np.ndarray]], delta: float, pseudocount: float
) -> dict[str, np.ndarray]:
    """Average over pairs what the table says of each gene, without keeping all pairs."""
    sums, n_pairs = np.zeros(()), 0
    for scale1, scale2 in pairs:
        lfc = np.log2(scale1 + pseudocount) - np.log2(scale2 + pseudocount)
        terms = (abs(lfc) > delta, lfc, lfc**2, scale1, scale2)
        sums = sums + np.stack([term.sum(axis=0) for term in terms])
        n_pairs += len(lfc)
    proba_de, lfc_mean, lfc_square, scale1, scale2 = sums / n_pairs
    lfc_std = np.sqrt((lfc_square - lfc_mean**2).clip(min=0))  # rounding may leave −1e-17
    return {
        "proba_de": proba_de,
        "lfc_mean": lfc_mean,
        "lfc_std": lfc_std,
        "scale1": scale1,
        "scale2": scale2,
    }


def _px_scale(module: LatentModule, z: Tensor, m: Minibatch, design: Tensor | None) -> Tensor:
    """Decode z to the shares of the genes, ρ, with these covariates. (N, n_genes)."""
    return module.generative(z, m.library, covariates=design).px_scale


def _each_level(module: LatentModule, m: Minibatch) -> list[Tensor | None]:
    """For each level of the covariate, the design that gives it to all cells of a minibatch."""
    if module.covariates is None:
        return [None]
    levels = module.covariates.levels
    return [module.covariates.as_if(level, len(m)).to(m.device) for level in levels]


def _random_levels(module: LatentModule, m: Minibatch) -> Tensor | None:
    """For each pair one of the levels that the module knows."""
    if module.covariates is None:
        return None
    return module.covariates.random(len(m)).to(m.device)


def _checked_groups(adata: AnnData, group1: Any, group2: Any) -> tuple[np.ndarray, np.ndarray]:
    """Turn two groups of cells into their row numbers, each once."""
    rows1, rows2 = (
        np.unique(positions_of(group, adata.obs_names, what="cells", argument=argument))
        for argument, group in (("group1", group1), ("group2", group2))
    )
    shared = np.intersect1d(rows1, rows2)
    if len(shared):
        raise ValueError(
            f"The groups overlap: {len(shared)} cells are in both, the first is "
            f"{cell_name(adata, int(shared[0]))}."
        )
    return rows1, rows2


def _check_de_numbers(delta: float, fdr: float, n_samples: int, pseudocount: float | None) -> None:
    whole_number("n_samples", n_samples)
    if not delta >= 0:
        raise ValueError(f"delta must be at least 0, not {delta}.")
    if not 0 <= fdr <= 1:
        raise ValueError(f"fdr must be between 0 and 1, not {fdr}.")
    if pseudocount is not None and not pseudocount > 0:
        raise ValueError(f"pseudocount must be above 0, not {pseudocount}.")
