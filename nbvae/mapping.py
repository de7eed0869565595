"""Cells of another experiment on a trained module: where they lie, and whether they belong there.

An encoder finds a place for any cell, even one of a kind that it has never seen. What gives such a
cell away is its counts: the decoder can't explain them from any z. So ask, for z from q(z | x), how
improbable the counts are, −log p(x | z, ℓ), compared with counts that the module itself draws from
the same z and ℓ. Measured in standard deviations of the latter, that is the cell's *misfit*: it can
be compared between cells with many counts and with few (Gelman, Meng & Stern 1996). Cells that were
held out of training show which misfit is usual.

A kind with a close relative among those that the module knows is explained as that relative, and
its misfit is usual. The distance to the nearest training cells in z then says more, and for some
kinds it does anyway (``benchmarks/results/unseen_kinds.md``).
"""

from typing import NamedTuple

import numpy as np
import torch
from anndata import AnnData
from scipy import sparse
from torch import Tensor

from nbvae._arguments import an_anndata, true_or_false, whole_number
from nbvae._messages import note, shown
from nbvae.data.genes import genes_of, layer_of, with_genes
from nbvae.data.minibatches import CellTable, Minibatch
from nbvae.data.store.cells import StoredCounts
from nbvae.evaluation import Latent, encode
from nbvae.module.evaluating import device_of, evaluating, minibatches_of
from nbvae.module.protocol import LatentModule

ENOUGH = 20  # cells, so that a p-value can be 0.05
REPLICATES = 10  # drawn for each z


class Mapped(NamedTuple):
    """Where the cells of a query lie, and how well the module explains them."""

    latent: Latent  # q(z | x)
    misfit: np.ndarray  # (n_cells,), standard deviations above what the module itself draws
    p_value: np.ndarray  # (n_cells,), of being one of the kinds that the module knows
    filled: tuple[str, ...]  # genes that were not measured


def map_query(
    module: LatentModule,
    adata: AnnData,
    known: AnnData,
    *,
    layer: str | None = None,
    fill_missing: bool = False,
    n_samples: int = 3,
    seed: int = 0,
) -> Mapped:
    """Map cells of another experiment onto a trained module, which stays as it is.

    The p-value of a cell is the share of ``known`` cells, itself counted among them, whose misfit
    is as large or larger. Among cells of their kinds and their experiment, on average at most a
    share α has p ≤ α, however good or bad the module is: a conformal p-value (Fontana, Zeni &
    Vantini 2023, doi:10.3150/21-BEJ1447). Another chemistry or tissue makes all cells fit worse,
    those of known kinds included: then compare the query's cells with each other, or first fit its
    batch (``with_new_levels``).

    Genes are found by name. A gene that was not measured can't be filled in without a loss: the
    encoders see a 0 where there may have been counts. The misfit leaves such genes out, for
    ``known`` as well, and divides the shares by the sum of those that were measured.

    Args:
        module: an ``NBVAE`` that knows its genes.
        adata: raw counts of the query.
        known: cells of the kinds that the module knows, but was not trained on:
            ``adata[trainer.held_out_cells]``.
        layer: the layer of ``adata`` that holds the counts; the module's own when left out.
        fill_missing: take 0 for each gene that ``adata`` lacks; else that is refused.
        n_samples: draws of z for each cell; each is compared with ten replicates.
        seed: of the draws.

    Raises:
        CountsError, KeyError, TypeError: as in ``CellTable.of``.
        ValueError: as there, also for a level that the module doesn't know; the module knows no
            genes by name; ``adata`` lacks some, without ``fill_missing``, or all; or there are
            fewer than 20 known cells.

    """
    n_samples, seed = whole_number("n_samples", n_samples), whole_number("seed", seed, least=None)
    fill_missing = true_or_false("fill_missing", fill_missing)
    genes = genes_of(module)
    if genes is None:
        raise ValueError("This module knows no genes by name: set module.genes, in its order.")
    of_known = CellTable.of(known, module)
    filled: tuple[str, ...] = ()
    there = set(an_anndata(adata).var_names)
    missing = [gene for gene in genes if gene not in there]
    if not fill_missing and 0 < len(missing) < len(genes):
        raise ValueError(
            f"{len(missing)} of the {len(genes)} genes that the module models are missing from "
            f"this table: {shown(missing)}. fill_missing=True takes 0 for them, and leaves them "
            "out of the misfit; better, pass the table as it was before genes were chosen."
        )
    if fill_missing:
        layer = layer_of(module) if layer is None else layer
        adata, filled = with_genes(adata, genes, layer=layer)
        layer = "X"
    table = CellTable.of(adata, module, layer=layer)
    measured = np.flatnonzero(~np.isin(genes, filled))
    if filled:
        of_all = _in_memory(of_known)
        share = 1 - of_all[:, measured].sum() / of_all.sum()
        note(
            f"{len(filled)} of the module's {len(genes)} genes are not in this table and were "
            f"filled with 0: {shown(filled, most=4)}. The known cells have {share:.0%} of their "
            "counts in them."
        )
    usual = _misfit(module, _only(of_known, measured), measured, n_samples, seed)
    if len(usual) < ENOUGH:
        raise ValueError(
            f"{len(usual)} known cells are too few to say what is usual: {ENOUGH} at least."
        )
    misfit = _misfit(module, table, measured, n_samples, seed)
    as_large = len(usual) - np.searchsorted(np.sort(usual), misfit, side="left")
    p_value = (as_large + 1) / (len(usual) + 1)
    return Mapped(encode(module, table), misfit, p_value, filled)


def _only(table: CellTable, measured: np.ndarray) -> CellTable:
    """Blank the genes that the query lacks; leave out cells that have no others."""
    kept = np.zeros(table.counts.shape[1], dtype=np.float32)
    kept[measured] = 1
    counts = _in_memory(table).multiply(kept).tocsr()
    counts.eliminate_zeros()
    rows = np.flatnonzero(np.diff(counts.indptr))
    design, sizes = (
        None if values is None else values[rows] for values in (table.design, table.size_factors)
    )
    return CellTable(counts[rows], design, size_factors=sizes)


def _in_memory(table: CellTable) -> sparse.csr_matrix:
    if isinstance(table.counts, StoredCounts):
        raise ValueError("known is a store: pass some of its cells, store[trainer.held_out_cells].")
    return table.counts


def _misfit(
    module: LatentModule, table: CellTable, measured: np.ndarray, n_samples: int, seed: int
) -> np.ndarray:
    """Compare each cell's counts with replicates. (n_cells,)."""
    misfits = []
    columns = torch.from_numpy(measured).to(device_of(module))
    with evaluating(module, seed=seed):
        for m in minibatches_of(module, table):
            draws = [_misfit_of_draw(module, m, columns) for _ in range(n_samples)]
            misfits.append(torch.stack(draws).mean(dim=0).cpu().double().numpy())
    return np.concatenate(misfits)


def _misfit_of_draw(module: LatentModule, m: Minibatch, columns: Tensor) -> Tensor:
    """Draw z once, and replicates from it. (N,)."""
    z = module.inference(m.x, covariates=m.covariates).z
    p = module.generative(z, m.library, covariates=m.covariates)
    if m.size_factors is None and len(columns) < m.x.shape[1]:  # ℓ is the total of these genes
        of_these = p.log_px_scale[:, columns].logsumexp(dim=-1, keepdim=True)
        p = p._replace(log_px_mean=p.log_px_mean - of_these)

    def improbable(x: Tensor) -> Tensor:
        return -module.likelihood.log_prob(x, p)[:, columns].sum(dim=-1)

    drawn = torch.stack([improbable(module.likelihood.sample(p)) for _ in range(REPLICATES)])
    return (improbable(m.x) - drawn.mean(dim=0)) / drawn.std(dim=0).clamp(min=1e-6)
