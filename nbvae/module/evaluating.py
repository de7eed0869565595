"""A module that is asked instead of trained: which cells it is fed, in which mode, and its ELBO.

The trainer asks for the ELBO of held-out cells after each epoch; ``evaluation``, ``expression`` and
the rest ask a trained module for more.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from anndata import AnnData

from nbvae._arguments import whole_number
from nbvae.data.covariates import size_factor_key_of
from nbvae.data.genes import genes_of
from nbvae.data.minibatches import CellTable, Minibatch
from nbvae.module.fast import loss_of
from nbvae.module.protocol import TrainableModule
from nbvae.threads import use_threads

BATCH_SIZE = 512  # evaluation keeps no gradients, so larger minibatches fit


class Elbo(NamedTuple):
    """The negative ELBO and its two terms: means over cells, in nats."""

    neg_elbo: float
    reconstruction: float
    kl: float


def elbo(
    module: TrainableModule,
    adata: AnnData | CellTable,
    *,
    layer: str | None = None,
    indices: Any = None,
    n_samples: int = 1,
    seed: int = 0,
) -> Elbo:
    """Estimate the negative ELBO of some cells; nothing is learned from them.

    Args:
        module: returns ``reconstruction`` and ``kl`` of each cell.
        adata: raw counts, a store or a ``CellTable`` of them.
        layer: the layer that holds the counts; the module's own when left out.
        indices: the cells: row numbers, a mask or names; all when left out.
        n_samples: draws of z for each cell, averaged.
        seed: seed of these draws; the same seed compares two modules with the same noise.

    Raises:
        CountsError, TypeError: as in ``CellTable.of``.
        KeyError: a cell that was named, or the layer, is not there.
        ValueError: ``indices`` is empty or chooses no cells, ``n_samples`` is below 1, or the
            module models a gene that is not there.

    """
    n_samples, seed = whole_number("n_samples", n_samples), whole_number("seed", seed, least=None)
    table = table_of(module, adata, layer)
    rows = table.positions(indices)
    terms = np.zeros(2)
    with evaluating(module, seed=seed):
        for minibatch in minibatches_of(module, table, rows):
            for _ in range(n_samples):
                output = loss_of(module, minibatch)
                # off the device first: numpy reads no GPU memory, and MPS has no doubles
                cell_terms = torch.stack([output.reconstruction, output.kl]).cpu().double()
                terms += cell_terms.sum(dim=1).numpy()
    reconstruction, kl = (terms / (len(rows) * n_samples)).tolist()
    return Elbo(reconstruction + kl, reconstruction, kl)


def table_of(
    module: TrainableModule, adata: AnnData | CellTable, layer: str | None = None
) -> CellTable:
    """Take what a module is fed from an AnnData, unless that was done before.

    Raises:
        CountsError, KeyError, TypeError: as in ``CellTable.of``.
        ValueError: as there; or the table was made for other genes, or a layer is named for it.

    """
    if not isinstance(adata, CellTable):
        return CellTable.of(adata, module, layer=layer)
    if layer is not None:
        raise ValueError("A CellTable has its counts already: name layer where it is made.")
    if (adata.size_factors is None) != (size_factor_key_of(module) is None):
        raise ValueError("The CellTable has another library: CellTable.of(adata, module).")
    genes = genes_of(module)
    if genes is not None and adata.given is not None and not adata.genes.equals(pd.Index(genes)):
        raise ValueError("The CellTable was made for other genes: CellTable.of(adata, module).")
    return adata


@contextmanager
def evaluating(module: TrainableModule, *, seed: int = 0) -> Iterator[None]:
    """Evaluation mode without gradients, and random numbers that follow from ``seed``.

    The module's own mode, the caller's random numbers and number of threads are then restored.
    """
    training = module.training
    module.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(), use_threads():
            torch.manual_seed(seed)
            yield
    finally:
        module.train(training)


def minibatches_of(
    module: TrainableModule, table: CellTable, rows: np.ndarray | None = None
) -> Iterator[Minibatch]:
    """Walk through some cells, all when left out, in minibatches on the module's device."""
    rows = np.arange(table.n_cells) if rows is None else rows
    return table.minibatches(rows, BATCH_SIZE, device_of(module))


def device_of(module: TrainableModule) -> torch.device:
    """Where the module's weights are."""
    return next(module.parameters()).device
