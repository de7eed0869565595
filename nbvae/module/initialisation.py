"""What can be said about the genes without z: where a module starts.

If all cells had the same shares ρ, a count would be NB(ℓρ, θ), and on average, over the cells,

    Σ (x − ℓρ)² = Σ [ℓρ + (ℓρ)²/θ].

Solved for θ, that is an estimate by moments (chapter 2). It takes differences between kinds of
cells for scatter, so that it is far too small for their markers; z will explain those.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce

import numpy as np
import torch
from anndata import AnnData
from torch import Tensor

from nbvae._arguments import a_seed
from nbvae.data.counts import count_matrix
from nbvae.data.order import WINDOW
from nbvae.data.store.cells import CellStore, refuse_layer
from nbvae.data.sums import GeneSums

LOWEST = 1.0  # starts at 0.3 or 2 end with a higher −ELBO on PBMC 3k
HIGHEST = 10.0  # the counts hardly tell a larger θ from ∞; 5, 20 and 30 end alike


def gene_sums(
    adata: AnnData, *, layer: str | None = None, library: np.ndarray | None = None
) -> GeneSums:
    """Sum the counts over cells; a store knows them already, but not those with other libraries.

    Args:
        adata: the cells.
        layer: the layer that holds the counts; ``X`` when left out.
        library: (n_cells,), size factors; the cells' totals when left out.

    Raises:
        CountsError, KeyError, TypeError: as in ``count_matrix``.
        ValueError: a layer is named for a store.

    """
    if not isinstance(adata, CellStore):
        return GeneSums.of(count_matrix(adata, layer=layer), library)
    refuse_layer(layer)
    if library is None:
        return adata.sums
    parts = np.array_split(np.arange(adata.n_obs), -(-adata.n_obs // WINDOW))
    return reduce(GeneSums.plus, (GeneSums.of(adata.counts[p], library[p]) for p in parts))


def shares(sums: GeneSums) -> np.ndarray:
    """Return each gene's share of all counts, with half a count added so that none is 0. (G,)."""
    totals = sums.totals + 0.5
    return totals / totals.sum()


def rates(sums: GeneSums) -> np.ndarray:
    """Return each gene's counts per unit of the size factors, with half a count added. (G,)."""
    return (sums.totals + 0.5) / sums.library


def theta_by_moments(sums: GeneSums) -> np.ndarray:
    """Estimate each gene's θ as if all cells had the same shares.

    Args:
        sums: of raw counts, with at least one in each cell.

    Returns:
        (G,), inverse dispersions between 1 and 10; 10 for a gene without counts.

    """
    share = sums.totals / sums.library  # (G,)
    means_squared = share**2 * sums.library_squares  # Σ (ℓρ)²
    spread = sums.squares - 2 * share * sums.with_library + means_squared  # Σ (x − ℓρ)²
    excess = spread - share * sums.library
    theta = np.full(len(share), HIGHEST)
    np.divide(means_squared, excess, out=theta, where=excess > 0)
    return theta.clip(LOWEST, HIGHEST)


def start(
    bias: Tensor, log_theta: Tensor | None, sums: GeneSums, *, with_size_factors: bool = False
) -> None:
    """Set a decoder's last bias, (G,), to the log of the shares, and log θ to that by moments.

    With size factors the bias is what the softplus turns into the rates: y = log(exp(rate) − 1).
    Where each batch has a θ of its own, (G, L), all start with the same.
    """
    rate = rates(sums)
    first = rate + np.log(-np.expm1(-rate)) if with_size_factors else np.log(shares(sums))
    with torch.no_grad():
        bias.copy_(torch.from_numpy(first))
        if log_theta is not None:
            by_moments = torch.from_numpy(theta_by_moments(sums)).log()
            log_theta.copy_(by_moments if log_theta.ndim == 1 else by_moments[:, None])


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Draw what follows from a seed, and leave the caller's random numbers as they were.

    Args:
        seed: None changes nothing: the caller's random numbers are used.

    Raises:
        TypeError, ValueError: it is not a whole number that PyTorch takes.

    """
    if seed is None:
        yield
        return
    seed = a_seed("seed", seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
