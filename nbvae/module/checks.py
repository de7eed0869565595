"""What ``NBVAE`` refuses, so that its own file can tell the story."""

from typing import Any

import torch
from torch import Tensor, nn

from nbvae._arguments import kind_of, true_or_false
from nbvae._messages import shown
from nbvae.data.covariates import Covariates


def may_encode(encode_covariates: bool, covariates: Covariates | None) -> bool:
    """Take ``encode_covariates``, which needs something to encode."""
    wanted = true_or_false("encode_covariates", encode_covariates)
    if wanted and covariates is None:
        raise ValueError(
            "encode_covariates=True needs covariates: pass covariates=Covariates.of(adata, key)."
        )
    return wanted


def check_shape(x: Tensor, n_genes: int) -> None:
    """Refuse counts of another number of genes."""
    if not isinstance(x, Tensor):
        raise TypeError(
            f"x must be a tensor of shape (cells, {n_genes}), not {kind_of(x)}. From an array: "
            "torch.as_tensor(x). An AnnData goes to evaluation.encode or evaluation.elbo."
        )
    if x.ndim != 2 or x.shape[1] != n_genes:
        raise ValueError(
            f"This module models {n_genes} genes, so x must have shape "
            f"(cells, {n_genes}), but it has shape {tuple(x.shape)}. Give it the genes "
            f"it was built for, or build NBVAE(n_genes={x.shape[-1] if x.ndim else 0})."
        )


def check_design(design: Tensor | None, covariates: Covariates | None) -> None:
    """Refuse a design matrix that does not belong to the covariates."""
    if covariates is None:
        if design is not None:
            raise ValueError("This module was built without covariates, but some were given.")
        return
    width = covariates.n_columns
    if not isinstance(design, Tensor) or design.ndim != 2 or design.shape[1] != width:
        shape = tuple(getattr(design, "shape", ()))
        given = "none were given" if design is None else f"not {kind_of(design)} of shape {shape}"
        raise ValueError(
            f"This module needs covariates of shape (cells, {width}), {given}: pass covariates="
            f"module.covariates.design(adata), from obs[{shown(covariates.keys)}], as a tensor."
        )


def a_key(key: Any) -> str | None:
    """Take the name of a column of ``obs``, or None."""
    if key is not None and not isinstance(key, str):
        raise TypeError(f"size_factor_key must name a column of obs, not {key!r} ({kind_of(key)}).")
    return None if key is None else str(key)


def check_library(library: Tensor | None, n_cells: int, key: str | None) -> None:
    """Refuse size factors that are missing or were not asked for."""
    if key is None and library is not None:
        raise ValueError("This module takes the cells' totals as library, but size factors came.")
    shape = None if library is None else tuple(library.shape)
    if key is not None and shape != (n_cells, 1):
        raise ValueError(
            f"This module needs library=, the size factors in obs[{key!r}], of shape "
            f"({n_cells}, 1), not {'none' if shape is None else shape}."
        )


def weights_type(module: nn.Module) -> torch.dtype:
    """Return the type of a module's weights, unless it is too coarse for counts."""
    dtype = next(module.parameters()).dtype
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"The weights are {str(dtype).removeprefix('torch.')}, too coarse for counts (above "
            "2,048 float16 skips whole numbers): call module.float() or module.double()."
        )
    return dtype
