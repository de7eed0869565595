"""How good a fitted module is: all rivals are judged by the same functions."""

from typing import Any

import numpy as np
import scanpy as sc
from anndata import AnnData
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from benchmarks import data
from benchmarks.plan import Spec
from benchmarks.rivals import timed_fit
from nbvae import evaluation
from nbvae.module.protocol import LatentModule

DRAWS_OF_A_POINT, DRAWS, DRAWS_OF_THE_BOUND = 3, 50, 200  # of z per cell
CELLS_OF_THE_BOUND, CELLS_WITH_LABELS = 500, 5000  # at most
IN_USE = 0.1  # nats of KL to the prior that make a latent dimension count


def quality(adata: AnnData, spec: Spec) -> dict[str, Any]:
    """Let a rival train as its defaults say; judge it by cells that it never saw."""
    train, test = data.split(adata, spec.seed)

    def look(module: LatentModule) -> float:
        return evaluation.elbo(module, test, n_samples=DRAWS_OF_A_POINT).neg_elbo

    module, watch, times = timed_fit(train, spec, look)
    points = [*watch.points, (times["epochs"], times["fit_s"], look(module))]
    rounded = [(epoch, round(seconds, 4), round(value, 3)) for epoch, seconds, value in points]
    scores = {**of_counts(module, test), **of_labels(adata, spec, module)}
    return {**times, **scores, "n_test": test.n_obs, "points": rounded}


def of_counts(module: LatentModule, test: AnnData) -> dict[str, float]:
    """Score what the module says of the counts of cells that no rival saw."""
    terms = evaluation.elbo(module, test, n_samples=DRAWS)._asdict()
    first = np.arange(min(test.n_obs, CELLS_OF_THE_BOUND))
    bound = evaluation.importance_weighted_bound(
        module, test, indices=first, n_samples=DRAWS_OF_THE_BOUND
    )
    kl = evaluation.encode(module, test).kl.mean(axis=0)  # (n_latent,)
    return {**terms, "bound": bound, "dimensions_in_use": int((kl > IN_USE).sum())}


def of_labels(adata: AnnData, spec: Spec, module: LatentModule | None = None) -> dict[str, float]:
    """Score how an embedding, a rival's PCA without a module, agrees with cell types, if any.

    By ARI and NMI of k-means, and by the share of cells that the majority of their 15 nearest
    neighbours in other folds gives the right type (5-fold).
    """
    if "cell_type" not in adata.obs:
        return {}
    size = min(adata.n_obs, CELLS_WITH_LABELS)
    chosen = np.random.default_rng(spec.seed).choice(adata.n_obs, size, replace=False)
    some = adata[np.sort(chosen)].copy()
    embedding = evaluation.encode(module, some).mean if module else pca(some, spec.rival)
    labels = some.obs["cell_type"].to_numpy()
    agreement = evaluation.cluster_agreement(embedding, labels, n_clusters=10, seed=spec.seed)
    folds = StratifiedKFold(5, shuffle=True, random_state=spec.seed)
    right = cross_val_score(KNeighborsClassifier(15), embedding, labels, cv=folds).mean()
    return {"ari": agreement.ari, "nmi": agreement.nmi, "neighbours": float(right)}


def pca(adata: AnnData, rival: str) -> np.ndarray:
    """Embed cells as one does without a model: transform the counts, then take ten components.

    "pca median" is what scanpy does by default, "pca 1e4" what most tutorials do: a target of
    10,000. "pca pearson" takes analytic Pearson residuals (Lause, Berens & Kobak 2021).
    """
    table = adata.copy()
    sc.pp.filter_genes(table, min_counts=1)  # no residual of a gene that none of them has
    if rival == "pca pearson":
        sc.experimental.pp.normalize_pearson_residuals(table)
    else:
        sc.pp.normalize_total(table, target_sum=1e4 if rival == "pca 1e4" else None)
        sc.pp.log1p(table)
    sc.pp.pca(table, n_comps=10, random_state=0)
    return table.obsm["X_pca"]
