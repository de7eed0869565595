"""The pairwise rule: how often a random cell of one group differs from one of the other."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from nbvae.data.covariates import Way
from nbvae.data.minibatches import CellTable, Minibatch
from nbvae.differential.groups import Groups
from nbvae.module.decoding import px_scale_as
from nbvae.module.evaluating import minibatches_of
from nbvae.module.protocol import LatentModule


def compare_pairs(
    module: LatentModule,
    table: CellTable,
    groups: Groups,
    *,
    covariates: Way,
    delta: float,
    pseudocount: float,
    n_samples: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """Draw pairs of cells, with z from q and shares ρ₁ and ρ₂, and average over them.

    ``proba_de`` is P(|LFC| > δ) over pairs, LFC = log₂(ρ₁ + c) − log₂(ρ₂ + c). With
    ``covariates="all"`` both cells of a pair are decoded with one random level.

    This is the "change" mode of scvi-tools with ``test_mode="two"`` (Boyeau et al. 2019,
    doi:10.1101/794289).
    """
    rng = np.random.default_rng(seed)
    rows = [rng.choice(group, n_samples) for group in groups]
    sums, n_pairs = np.zeros(()), 0
    for scale1, scale2 in _shares(module, table, rows, covariates):
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


def _shares(
    module: LatentModule, table: CellTable, rows: list[np.ndarray], covariates: Way
) -> Iterator[list[np.ndarray]]:
    """Draw ρ for the cells of pairs, some at a time: two arrays (pairs, n_genes), float64."""
    sides = (minibatches_of(module, table, some) for some in rows)
    for pair in zip(*sides, strict=True):
        level = _random_levels(module, pair[0]) if covariates == "all" else None
        yield [_px_scale(module, m, covariates, level).cpu().double().numpy() for m in pair]


def _px_scale(module: LatentModule, m: Minibatch, covariates: Way, level: Tensor | None) -> Tensor:
    z = module.inference(m.x, covariates=m.covariates).z
    if level is None:
        return px_scale_as(module, z, m, covariates)
    return module.generative(z, m.library, covariates=level).px_scale


def _random_levels(module: LatentModule, m: Minibatch) -> Tensor | None:
    """For each pair one of the levels that the module knows."""
    if module.covariates is None:
        return None
    return module.covariates.random(len(m)).to(torch.device(m.device))
