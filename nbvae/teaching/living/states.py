"""The living figures that decode a state in the page: chapter 3's, and the front page's."""

import string
from collections.abc import Sequence
from typing import Any

import numpy as np
from anndata import AnnData
from matplotlib.figure import Figure

from nbvae import NBVAE, evaluation
from nbvae.teaching.living.counts import LARGEST, whole
from nbvae.teaching.living.figure import LivingFigure, packed

COMMON = 5  # genes that are named for a cell


def state_by_hand(
    model: NBVAE,
    adata: AnnData,
    genes: Sequence[str],
    *,
    cell: int,
    still: Figure | None = None,
) -> LivingFigure:
    """Let the reader drag z along two of its coordinates, and turn z with or without the decoder.

    Args:
        model: trained, with one hidden layer in its decoder. Its weights travel with the page as
            half floats.
        adata: the cells to show, with raw counts and ``obs["cell_type"]``.
        genes: whose counts to show, by name.
        cell: the number of the cell whose state is the first, and whose counts are shown.
        still: the picture for where scripts do not run.

    """
    counts = whole(adata[cell].X.toarray().ravel())
    return LivingFigure(
        "state_by_hand",
        "A state to move by hand",
        {**cells_of(adata, genes), "cell": cell, "counts": counts},
        trained=trained_of(model, adata),
        still=still,
    )


def latent_map(
    model: NBVAE, adata: AnnData, genes: Sequence[str], positions: np.ndarray, *, cell: int
) -> LivingFigure:
    """Let the reader touch cells on a map, and decode a point of it.

    Args:
        model: as in :func:`state_by_hand`.
        adata: the cells to show, with raw counts and ``obs["cell_type"]``.
        genes: whose counts to show, by name.
        positions: of the cells on the map, (n_cells, 2).
        cell: the number of the cell at which the point starts.

    """
    low, high = positions.min(0), positions.max(0)
    on_map = np.rint(LARGEST * (positions - low) / (high - low))
    counts = np.asarray(adata.X.toarray())
    common = np.argsort(-counts, axis=1, kind="stable")[:, :COMMON]
    values = {
        **cells_of(adata, genes),
        "cell": cell,
        "names": list(adata.var_names),
        "common": whole(common),
    }
    trained = {**trained_of(model, adata), "map": whole(on_map)}
    return LivingFigure("latent_map", "A map of blood cells, to touch", values, trained=trained)


def cells_of(adata: AnnData, genes: Sequence[str]) -> dict[str, Any]:
    """Return what the page knows of cells: kinds, libraries, and where the genes are."""
    return {
        **kinds_of(adata),
        "genes": [[gene, int(adata.var_names.get_loc(gene))] for gene in genes],
    }


def kinds_of(adata: AnnData) -> dict[str, Any]:
    """Return the kinds and the libraries of cells, for the page."""
    kinds = adata.obs["cell_type"].astype("category").cat
    letters = "".join(string.ascii_letters[code] for code in kinds.codes)
    return {
        "kinds": list(kinds.categories),
        "types": letters,
        "library": whole(np.asarray(adata.X.sum(1)).ravel()),
    }


def trained_of(model: NBVAE, adata: AnnData) -> dict[str, Any]:
    """Return the cells' states and the decoder, as half floats.

    Raises:
        ValueError: the decoder is not a linear map, a ReLU and a linear map, or the model's counts
            are Poisson.

    """
    weights = [weight.detach().cpu().numpy() for weight in model.decoder.parameters()]
    if [weight.ndim for weight in weights] != [2, 1, 2, 1]:
        raise ValueError(
            "The page can decode with one hidden layer and no normalisation. This decoder has "
            f"parameters of shapes {[weight.shape for weight in weights]}."
        )
    if model.log_theta is None:
        raise ValueError("The page draws negative binomial counts, and this model has no θ.")
    first, first_bias, second, second_bias = (packed(weight, "<f2") for weight in weights)
    return {
        "z": packed(evaluation.encode(model, adata).mean, "<f2"),
        "decoder": {
            "first": first,
            "firstBias": first_bias,
            "second": second,
            "secondBias": second_bias,
            "logTheta": packed(model.log_theta.detach().cpu().numpy(), "<f2"),
        },
    }
