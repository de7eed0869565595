"""Decoding as if: a cell's shares of the genes in its own batch, in a chosen one, or in all."""

import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import torch
from torch import Tensor

from nbvae._arguments import kind_of, one_of
from nbvae._messages import shown
from nbvae.data.covariate import Category
from nbvae.data.covariates import Covariates, Way
from nbvae.data.minibatches import Minibatch
from nbvae.module.protocol import LatentModule

WAYS = ("own", "all")
MOST_COMBINATIONS = 100  # of levels, that "all" decodes each cell with


def known_decoding(module: LatentModule, covariates: Way) -> Way:
    """Take "own", "all", a level that the module knows, or {key: level, number or "all"}.

    Raises:
        TypeError, ValueError: it is none of them; or "all" is more than 100 combinations.

    """
    of_module = module.covariates
    if isinstance(covariates, Mapping) and of_module is not None:
        for changes in _combinations(of_module, covariates):
            of_module.as_if(changes, torch.zeros(0, of_module.n_columns))
        return covariates
    if isinstance(covariates, Mapping):
        raise ValueError("This module was built without covariates: there is nothing to decode as.")
    if not isinstance(covariates, str):
        raise TypeError(
            f"covariates must be 'own', 'all', a level or {{key: level}}, not {covariates!r} "
            f"({kind_of(covariates)})."
        )
    levels = () if of_module is None else of_module.levels
    one_of("covariates", covariates, (*WAYS, *levels))
    if covariates == "all" and of_module is not None:
        list(_combinations(of_module, _everything(of_module)))
    return covariates


def px_scale_as(module: LatentModule, z: Tensor, m: Minibatch, covariates: Way) -> Tensor:
    """Decode z to the shares of the genes, ρ, of the cells of a minibatch. (N, G).

    The arguments are those of ``decoded_as``.
    """
    return decoded_as(module, z, m, covariates)[0]


def decoded_as(
    module: LatentModule, z: Tensor, m: Minibatch, covariates: Way
) -> tuple[Tensor, Tensor | None]:
    """Decode z to ρ, (N, G), and to 1/θ, (G,) or (N, G); None for the Poisson distribution.

    Args:
        module: an ``NBVAE``.
        z: (N, K).
        m: the cells.
        covariates: "own" decodes each cell with its own covariates; a level, or {key: level or
            number}, as if it had that; "all", with each combination of levels, averaged, and
            numbers at their means. {key: "all"} averages over the levels of one. Without
            covariates all are the same.

    """
    outputs = [
        module.generative(z, m.library, covariates=design)
        for design in _designs(module, m, covariates)
    ]
    thetas = [p.theta for p in outputs if p.log_theta is not None]
    own = _mean([1 / theta for theta in thetas]) if thetas else None
    return _mean([p.px_scale for p in outputs]), own


def _mean(tensors: list[Tensor]) -> Tensor:
    return torch.stack(tensors).mean(dim=0) if len(tensors) > 1 else tensors[0]


def taken_out(module: LatentModule, covariates: Way) -> list[Category]:
    """List the categories whose differences this decoding removes."""
    if module.covariates is None or covariates == "own":
        return []
    categories = module.covariates.categories
    return [c for c in categories if not isinstance(covariates, Mapping) or c.key in covariates]


def _designs(module: LatentModule, m: Minibatch, covariates: Way) -> Iterator[Tensor | None]:
    """Yield the designs to decode with, one after the other."""
    of_module = module.covariates
    if of_module is None or m.covariates is None or covariates == "own":
        yield m.covariates
        return
    way = _everything(of_module) if covariates == "all" else covariates
    for changes in _combinations(of_module, way):
        yield of_module.as_if(changes, m.covariates)


def _everything(covariates: Covariates) -> dict[str, Any]:
    """Treat all cells alike: each level of each category, numbers at their means."""
    return {column.key: column.alike for column in covariates.columns}


def _combinations(covariates: Covariates, way: Way) -> Iterator[Mapping[str, Any]]:
    """Put each level in the place of "all", unless it is one."""
    changes = covariates.changes(way)
    every = [c for c in covariates.categories if _means_all(c, changes.get(c.key))]
    n = math.prod(category.n_columns for category in every)
    if n > MOST_COMBINATIONS:
        keys = [category.key for category in every]
        raise ValueError(
            f"'all' would be {n} combinations of levels of {shown(keys)}, and each cell decoded "
            f"with each. Change fewer: with {{{keys[0]!r}: 'all'}} each cell keeps the others."
        )
    for levels in product(*(category.levels for category in every)):
        yield {**changes, **{c.key: level for c, level in zip(every, levels, strict=True)}}


def _means_all(category: Category, value: object) -> bool:
    return value == "all" and "all" not in category.levels
