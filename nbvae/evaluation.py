"""How good a trained module is: held-out bounds, latent space, agreement with known labels."""

import math
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from anndata import AnnData
from torch import Tensor

from nbvae._arguments import an_anndata, whole_number
from nbvae.data.minibatches import CellTable, Minibatch
from nbvae.data.results import Results
from nbvae.module.evaluating import Elbo, elbo, evaluating, minibatches_of, table_of
from nbvae.module.nbvae import kl_to_standard_normal, reparametrise
from nbvae.module.protocol import LatentModule
from nbvae.threads import use_threads

__all__ = [
    "Agreement",
    "Elbo",
    "Latent",
    "add_latent",
    "cluster_agreement",
    "elbo",
    "encode",
    "evaluating",
    "importance_weighted_bound",
]


class Latent(NamedTuple):
    """The approximate posterior of each cell: its mean and its standard deviation."""

    mean: np.ndarray  # (n_cells, n_latent)
    sd: np.ndarray  # (n_cells, n_latent)

    @property
    def kl(self) -> np.ndarray:
        """KL to the prior of each coordinate of each cell, nats. (n_cells, n_latent)."""
        mean, logvar = torch.from_numpy(self.mean), 2 * torch.from_numpy(self.sd).log()
        return kl_to_standard_normal(mean[..., None], logvar[..., None]).numpy()


class Agreement(NamedTuple):
    """How well k-means clusters of an embedding agree with labels."""

    ari: float  # adjusted Rand index: 1 the same partition, 0 what chance gives
    nmi: float  # normalised mutual information: 1 the same partition, 0 independent
    silhouette: float  # of the labels themselves in the embedding: −1 mixed … 1 well apart


def importance_weighted_bound(
    module: LatentModule,
    adata: AnnData | CellTable,
    *,
    layer: str | None = None,
    indices: Any = None,
    n_samples: int = 100,
    seed: int = 0,
) -> float:
    """Estimate a bound on −log p(x) that is tighter than the negative ELBO.

    −log 1/S Σ_s p(x | z_s) p(z_s) / q(z_s | x) with S draws of z from q (Burda, Grosse &
    Salakhutdinov 2016). With S = 1 it is on average the negative ELBO; each further draw lowers it
    on average, and it comes down to −log p(x). What is left between the two at large S is how
    far q is from the true posterior.

    Args:
        module: an ``NBVAE``.
        adata: raw counts, a store or a ``CellTable`` of them.
        layer: the layer that holds the counts; the module's own when left out.
        indices: the cells: row numbers, a mask or names; all when left out.
        n_samples: S, draws of z for each cell.
        seed: seed of these draws.

    Returns:
        Mean over cells, in nats; lower is better, as with the negative ELBO.

    Raises:
        CountsError, TypeError: as in ``CellTable.of``.
        KeyError: a cell that was named, or the layer, is not there.
        ValueError: ``indices`` is empty or chooses no cells, ``n_samples`` is below 1, or the
            module models a gene that is not there.

    """
    n_samples, seed = whole_number("n_samples", n_samples), whole_number("seed", seed, least=None)
    table = table_of(module, adata, layer)
    rows = table.positions(indices)
    total = 0.0
    with evaluating(module, seed=seed):
        for minibatch in minibatches_of(module, table, rows):
            log_weights = _log_weights(module, minibatch, n_samples)
            total -= (log_weights.logsumexp(dim=0) - math.log(n_samples)).sum().item()
    return total / len(rows)


def _log_weights(module: LatentModule, minibatch: Minibatch, n_samples: int) -> Tensor:
    """Compute log p(x | z) + log p(z) − log q(z | x) for draws of z from q. (n_samples, N).

    With z = mean + sd · noise, log p(z) − log q(z | x) is ½ Σ (noise² + log sd² − z²). One draw
    at a time: only one (N, G) matrix of log-probabilities is in memory.
    """
    x, covariates = minibatch.x, minibatch.covariates
    q = module.inference(x, covariates=covariates)
    log_weights = []
    for _ in range(n_samples):
        noise = torch.randn_like(q.qz_mean)  # (N, K)
        z = reparametrise(q.qz_mean, q.qz_logvar, noise)
        p = module.generative(z, minibatch.library, covariates=covariates)
        log_prob = module.likelihood.log_prob(x, p).sum(dim=-1)  # (N,)
        log_ratio = 0.5 * (noise.square() + q.qz_logvar - z.square()).sum(dim=-1)
        log_weights.append((log_prob + log_ratio).cpu().double())
    return torch.stack(log_weights)


def encode(
    module: LatentModule,
    adata: AnnData | CellTable,
    *,
    layer: str | None = None,
    out: str | Path | None = None,
) -> Latent:
    """Compute q(z | x) of each cell. The library, where it is modelled, is left out.

    Args:
        module: has ``inference``, as ``NBVAE`` has.
        adata: raw counts of the genes that the module was built for, in any order, or a
            ``CellTable`` of them.
        layer: the layer that holds the counts; the module's own when left out.
        out: a file, "latent.npy", that takes the result, (2, n_cells, n_latent), while it is made;
            in memory when left out. It appears when it is complete.

    Raises:
        CountsError, KeyError, TypeError, ValueError: as in ``CellTable.of``.
        OSError: the file can't be written; its folder is missing, or the disk is full.

    """
    table = table_of(module, adata, layer)
    n_latent = getattr(module, "n_latent", None)  # a column more is the library's
    with Results(table.n_cells, out) as both, evaluating(module):
        for minibatch in minibatches_of(module, table):
            q = module.inference(minibatch.x, covariates=minibatch.covariates)
            mean_and_sd = torch.stack([q.qz_mean, (0.5 * q.qz_logvar).exp()])
            both.add(mean_and_sd[..., :n_latent].cpu().numpy())
    return Latent(*both.numbers)


def add_latent(
    module: LatentModule, adata: AnnData, *, layer: str | None = None, key: str = "X_nbvae"
) -> None:
    """Write the latent means into ``adata.obsm[key]``, where scanpy looks for them.

    Args:
        module: as in ``encode``, like ``adata`` and ``layer``.
        adata: gets the entry.
        layer: the layer that holds the counts; the module's own when left out.
        key: the name of the entry.

    Raises:
        CountsError, KeyError, TypeError, ValueError: as in ``CellTable.of``.

    """
    adata.obsm[key] = encode(module, an_anndata(adata), layer=layer).mean


def cluster_agreement(
    embedding: np.ndarray, labels: np.ndarray, *, n_clusters: int = 10, seed: int = 0
) -> Agreement:
    """Cluster an embedding with k-means and compare with labels.

    Args:
        embedding: (n_cells, n_dimensions).
        labels: (n_cells,), known groups.
        n_clusters: k; ten, as the sample has ten cell types.
        seed: seed of the ten restarts of k-means.

    Raises:
        ValueError: the two differ in length, a number of ``embedding`` is not finite, there are
            fewer cells than clusters, or not between two and n_cells − 1 different labels.

    """
    # here, not above: scikit-learn takes seconds to import, and nothing else of nbvae needs it
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import (
        adjusted_rand_score,
        normalized_mutual_info_score,
        silhouette_score,
    )
    from threadpoolctl import threadpool_limits

    n_clusters = whole_number("n_clusters", n_clusters)
    embedding, labels = np.asarray(embedding), np.asarray(labels).astype(str)
    _check_labelled(embedding, labels, n_clusters)
    sample = min(len(labels), 10_000)  # the silhouette compares all pairs of cells
    with use_threads(), threadpool_limits(torch.get_num_threads()), warnings.catch_warnings():
        # a collapsed embedding has fewer points than clusters: ARI 0
        warnings.simplefilter("ignore", ConvergenceWarning)
        clusters = KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(embedding)
        silhouette = silhouette_score(embedding, labels, sample_size=sample, random_state=seed)
    return Agreement(
        float(adjusted_rand_score(labels, clusters)),
        float(normalized_mutual_info_score(labels, clusters)),
        float(silhouette),
    )


def _check_labelled(embedding: np.ndarray, labels: np.ndarray, n_clusters: int) -> None:
    """Refuse what can't be clustered or compared."""
    if embedding.ndim != 2 or labels.ndim != 1:
        raise ValueError(
            "embedding must have shape (n_cells, n_dimensions) and labels (n_cells,), not "
            f"{embedding.shape} and {labels.shape}."
        )
    n_cells = len(embedding)
    if n_cells != len(labels):
        raise ValueError(f"{n_cells} cells are embedded, but {len(labels)} have labels.")
    if not np.isfinite(embedding).all():
        row = int((~np.isfinite(embedding)).any(axis=1).argmax())
        raise ValueError(f"embedding is not finite: its row {row} is {embedding[row]}.")
    if n_clusters > n_cells:
        raise ValueError(f"n_clusters is {n_clusters}, but there are only {n_cells} cells.")
    n_labels = len(np.unique(labels))
    if not 1 < n_labels < n_cells:
        raise ValueError(
            f"labels has {n_labels} different values for {n_cells} cells: there is nothing to "
            "agree with. At least two groups are needed, and one with two cells."
        )
