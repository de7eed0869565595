"""Decoding as if: the shares of the genes in a cell's own batch, in a chosen one, or in all."""

from collections.abc import Iterator

import torch
from torch import Tensor

from nbvae._arguments import one_of
from nbvae.data.minibatches import Minibatch
from nbvae.module.protocol import LatentModule

WAYS = ("own", "all")


def known_decoding(module: LatentModule, covariates: str) -> str:
    """Take "own", "all" or a level that the module knows.

    Raises:
        TypeError, ValueError: it is none of them.

    """
    levels = () if module.covariates is None else module.covariates.levels
    return one_of("covariates", covariates, (*WAYS, *levels))


def px_scale_as(module: LatentModule, z: Tensor, m: Minibatch, covariates: str) -> Tensor:
    """Decode z to the shares of the genes, ρ, of the cells of a minibatch. (N, G).

    Args:
        module: an ``NBVAE``.
        z: (N, K).
        m: the cells.
        covariates: "own" decodes each cell with its own level; a level's name, all with that one;
            "all", with each level in turn, averaged. Without covariates all are the same.

    """
    shares = [
        module.generative(z, m.library, covariates=design).px_scale
        for design in _designs(module, m, covariates)
    ]
    return torch.stack(shares).mean(dim=0) if len(shares) > 1 else shares[0]


def _designs(module: LatentModule, m: Minibatch, covariates: str) -> Iterator[Tensor | None]:
    """Yield the designs to decode with, one after the other."""
    if module.covariates is None or covariates == "own":
        yield m.covariates
        return
    levels = module.covariates.levels if covariates == "all" else (covariates,)
    for level in levels:
        yield module.covariates.as_if(level, len(m)).to(m.device)
