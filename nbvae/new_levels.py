"""A module for batches that it has not seen: their weights are fitted, all others stay.

That is architectural surgery (scArches: Lotfollahi et al. 2022, doi:10.1038/s41587-021-01001-7).
A level of a category has one column of weights in the first layer of the decoder, and, with
dispersion per gene and batch, one of log θ. New columns are fitted to the cells of the new batch.
All other weights stay to the last bit, and with them what the module says of the cells that it
knew. So few numbers can say little: a batch that differs from the known ones in its own way in
each gene is only partly explained.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from anndata import AnnData
from torch import Tensor

from nbvae._messages import shown
from nbvae.data.covariates import Covariates
from nbvae.module.library import ModelledLibrary
from nbvae.module.nbvae import NBVAE
from nbvae.module.saving import arguments_of
from nbvae.train.trainer import Trainer


def with_new_levels(module: NBVAE, adata: AnnData, **settings: Any) -> NBVAE:
    """Copy a module, and fit the weights of those levels that it has not seen.

    A new level starts as the mean of the known ones of its category. The library of a new batch,
    where it is modelled, has the distribution that it has in these cells.

    Args:
        module: has covariates; it is not changed.
        adata: raw counts of the cells with new levels, with all of the module's genes.
        settings: of the ``Trainer``, such as ``max_epochs`` and ``seed``.

    Returns:
        The module with more levels; those it had keep their columns and weights.

    Raises:
        CountsError, KeyError, TypeError: as in ``CellTable.of``.
        ValueError: as there; the module has no categories, or there is no new level.

    """
    known = module.covariates
    if known is None or not known.categories:
        raise ValueError("This module was built without categories that could have new levels.")
    columns = tuple(column.with_levels_of(adata) for column in known.columns)
    if columns == known.columns:
        raise ValueError(
            f"obs has no level that is new to the module in {shown(known.keys)}: use it as it is."
        )
    extended = _extended(module, known, Covariates(columns))
    if isinstance(extended, ModelledLibrary):
        extended.measure_library(adata, known=known.categories[0].n_columns)
    new = [
        i >= before.n_columns
        for before, after in zip(known.columns, columns, strict=True)
        for i in range(after.n_columns)
    ]
    with _all_but_frozen(extended, Covariates(columns), module, torch.tensor(new)):
        Trainer(**settings).fit(extended, adata)
    return extended.requires_grad_(True)


def _extended(module: NBVAE, known: Covariates, covariates: Covariates) -> NBVAE:
    """Build the module with more covariates, each of its weights in its place."""
    with torch.random.fork_rng():  # the first weights are drawn and thrown away
        extended = type(module)(**arguments_of(module), covariates=covariates)
    extended.genes, extended.layer = module.genes, module.layer
    extended.to(module.dtype)
    starts = _starts(known, covariates).to(module.dtype)
    of_batches = starts[known.batch_columns, covariates.batch_columns]
    weights = module.state_dict()
    for name, own in extended.state_dict().items():
        values = weights[name].cpu()
        if values.shape != own.shape:  # its last columns are those of all covariates, or of batches
            first = starts if name.endswith("weight") else of_batches
            others, of_levels = values.split([values.shape[1] - len(first), len(first)], dim=1)
            weights[name] = torch.cat([others, of_levels @ first], dim=1)
    extended.load_state_dict(weights)
    return extended


def _starts(known: Covariates, covariates: Covariates) -> Tensor:
    """Say which old columns each new one is the mean of. (n_columns before, n_columns)."""
    blocks = []
    for before, after in zip(known.columns, covariates.columns, strict=True):
        n, n_added = before.n_columns, after.n_columns - before.n_columns
        blocks.append(torch.cat([torch.eye(n), torch.full((n, n_added), 1 / n)], dim=1))
    return torch.block_diag(*blocks)


@contextmanager
def _all_but_frozen(
    extended: NBVAE, covariates: Covariates, module: NBVAE, new: Tensor
) -> Iterator[None]:
    """Let training move nothing but the columns of new levels.

    Gradients reach no others. A prior of θ moves log θ without a gradient, in all columns of the
    tensor: those that were known come back afterwards.
    """
    before, hooks, known = dict(module.named_parameters()), [], []
    for name, weights in extended.named_parameters():
        if weights.shape == before[name].shape:
            weights.requires_grad_(False)
            continue
        those = new if name.endswith("weight") else new[covariates.batch_columns]
        others = torch.zeros(weights.shape[1] - len(those), dtype=torch.bool)
        moves = torch.cat([others, those])
        hooks.append(weights.register_hook(_only(moves)))
        known.append((weights, ~moves, weights.detach()[:, ~moves].clone()))
    yield
    for hook in hooks:
        hook.remove()
    with torch.no_grad():
        for weights, stay, values in known:
            weights[:, stay] = values.to(weights.device)


def _only(moves: Tensor) -> Callable[[Tensor], Tensor]:
    """Set the rest of a gradient to 0; the mask is copied to each device once."""
    on: dict[torch.device, Tensor] = {}

    def hook(grad: Tensor) -> Tensor:
        if grad.device not in on:
            on[grad.device] = moves.to(grad.device)
        return grad * on[grad.device]

    return hook
