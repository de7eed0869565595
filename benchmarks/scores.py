"""How good a fitted module is, for all rivals by the same functions."""

import numpy as np
import scanpy as sc
from anndata import AnnData
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from nbvae import evaluation

DRAWS_OF_A_POINT = 3  # of z a cell, for a point of the curve
DRAWS = 50  # for the final number
DRAWS_OF_THE_BOUND = 200
CELLS_OF_THE_BOUND = 500
IN_USE = 0.1  # nats of KL to the prior that make a latent dimension count
CELLS_WITH_LABELS = 5000
N_CLUSTERS = 10
N_NEIGHBOURS = 15
FOLDS = 5


def neg_elbo(module: nn.Module, test: AnnData) -> float:
    """Estimate a point of the curve: −ELBO of the cells that no rival saw, nats a cell."""
    return evaluation.elbo(module, test, n_samples=DRAWS_OF_A_POINT).neg_elbo


def of_counts(module: nn.Module, test: AnnData) -> dict[str, float]:
    """Score what the module says of the counts of cells that no rival saw."""
    result = evaluation.elbo(module, test, n_samples=DRAWS)
    first = np.arange(min(test.n_obs, CELLS_OF_THE_BOUND))
    kl = evaluation.encode(module, test).kl.mean(axis=0)  # (n_latent,)
    return {
        **result._asdict(),
        "bound": evaluation.importance_weighted_bound(
            module, test, cells=first, n_samples=DRAWS_OF_THE_BOUND
        ),
        "dimensions_in_use": int((kl > IN_USE).sum()),
    }


def of_labels(embedding: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, float]:
    """Score how an embedding agrees with cell types.

    Returns:
        ARI and NMI of k-means with ten clusters; the share of cells that the majority of their
        15 nearest neighbours in other folds gives the right type (5-fold).

    """
    agreement = evaluation.cluster_agreement(embedding, labels, n_clusters=N_CLUSTERS, seed=seed)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    neighbours = KNeighborsClassifier(N_NEIGHBOURS)
    accuracy = cross_val_score(neighbours, embedding, labels, cv=folds).mean()
    return {"ari": agreement.ari, "nmi": agreement.nmi, "neighbours": float(accuracy)}


def cells_with_labels(adata: AnnData, seed: int) -> AnnData | None:
    """Take at most 5,000 cells to score embeddings on; None if there are no cell types."""
    if "cell_type" not in adata.obs:
        return None
    size = min(adata.n_obs, CELLS_WITH_LABELS)
    chosen = np.sort(np.random.default_rng(seed).choice(adata.n_obs, size, replace=False))
    return adata[chosen].copy()


def pca(adata: AnnData, n_components: int = 10, seed: int = 0) -> np.ndarray:
    """Embed cells as one does without a model: log-normalised counts, then PCA."""
    logged = sc.pp.log1p(sc.pp.normalize_total(adata, target_sum=1e4, copy=True), copy=True)
    sc.pp.pca(logged, n_comps=n_components, random_state=seed)
    return logged.obsm["X_pca"]
