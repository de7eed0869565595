"""How good a trained module is: held-out bounds, latent space, agreement with known labels."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from anndata import AnnData
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import (
    adjusted_rand_score,
    normalized_mutual_info_score,
    silhouette_score,
)
from torch import Tensor

from nbvae.data.covariates import covariates_of
from nbvae.data.minibatches import CellTable, Minibatch
from nbvae.module.fast import loss_of
from nbvae.module.nbvae import kl_to_standard_normal
from nbvae.module.protocol import LatentModule, TrainableModule

BATCH_SIZE = 512  # evaluation keeps no gradients, so larger minibatches fit


class Elbo(NamedTuple):
    """The negative ELBO and its two terms: means over cells, in nats."""

    neg_elbo: float
    reconstruction: float
    kl: float


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


def elbo(
    module: TrainableModule,
    adata: AnnData | CellTable,
    *,
    indices: Any = None,
    n_samples: int = 1,
    seed: int = 0,
) -> Elbo:
    """Estimate the negative ELBO of some cells; nothing is learned from them.

    Args:
        module: returns ``reconstruction`` and ``kl`` of each cell.
        adata: the counts, or a ``CellTable`` of them.
        indices: the cells: row numbers, a mask or names; all when left out.
        n_samples: draws of z for each cell, averaged.
        seed: seed of these draws; the same seed compares two modules with the same noise.

    Raises:
        KeyError: a cell that was named is not there.
        ValueError: ``indices`` is empty or chooses no cells, or ``n_samples`` is below 1.

    """
    check_samples(n_samples)
    table = _table(module, adata)
    rows = table.positions(indices)
    terms = np.zeros(2)
    with evaluating(module, seed=seed):
        for minibatch in table.minibatches(rows, BATCH_SIZE, device_of(module)):
            for _ in range(n_samples):
                output = loss_of(module, minibatch)
                # off the device first: numpy reads no GPU memory, and MPS has no doubles
                cell_terms = torch.stack([output.reconstruction, output.kl]).cpu().double()
                terms += cell_terms.sum(dim=1).numpy()
    reconstruction, kl = (terms / (len(rows) * n_samples)).tolist()
    return Elbo(reconstruction + kl, reconstruction, kl)


def importance_weighted_bound(
    module: LatentModule,
    adata: AnnData | CellTable,
    *,
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
        adata: the counts, or a ``CellTable`` of them.
        indices: the cells: row numbers, a mask or names; all when left out.
        n_samples: S, draws of z for each cell.
        seed: seed of these draws.

    Returns:
        Mean over cells, in nats; lower is better, as with the negative ELBO.

    Raises:
        KeyError: a cell that was named is not there.
        ValueError: ``indices`` is empty or chooses no cells, or ``n_samples`` is below 1.

    """
    check_samples(n_samples)
    table = _table(module, adata)
    rows = table.positions(indices)
    total = 0.0
    with evaluating(module, seed=seed):
        for minibatch in table.minibatches(rows, BATCH_SIZE, device_of(module)):
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
        z = q.qz_mean + (0.5 * q.qz_logvar).exp() * noise
        p = module.generative(z, minibatch.library, covariates=covariates)
        log_prob = module.likelihood.log_prob(x, p).sum(dim=-1)  # (N,)
        log_ratio = 0.5 * (noise.square() + q.qz_logvar - z.square()).sum(dim=-1)
        log_weights.append((log_prob + log_ratio).cpu().double())
    return torch.stack(log_weights)


def encode(module: LatentModule, adata: AnnData) -> Latent:
    """Compute q(z | x) of each cell.

    Args:
        module: has ``inference``, as ``NBVAE`` has.
        adata: raw counts of the genes that the module was built for.

    """
    table = _table(module, adata)
    means, sds = [], []
    with evaluating(module):
        for minibatch in table.minibatches(np.arange(table.n_cells), BATCH_SIZE, device_of(module)):
            q = module.inference(minibatch.x, covariates=minibatch.covariates)
            means.append(q.qz_mean.cpu().numpy())
            sds.append((0.5 * q.qz_logvar).exp().cpu().numpy())
    return Latent(np.concatenate(means), np.concatenate(sds))


def add_latent(module: LatentModule, adata: AnnData, *, key: str = "X_nbvae") -> None:
    """Write the latent means into ``adata.obsm[key]``, where scanpy looks for them."""
    adata.obsm[key] = encode(module, adata).mean


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
        ValueError: the two differ in length.

    """
    if len(embedding) != len(labels):
        raise ValueError(f"{len(embedding)} cells are embedded, but {len(labels)} have labels.")
    with warnings.catch_warnings():  # a collapsed embedding has fewer points than clusters: ARI 0
        warnings.simplefilter("ignore", ConvergenceWarning)
        clusters = KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(embedding)
    labels = np.asarray(labels).astype(str)
    sample = min(len(labels), 10_000)  # the silhouette compares all pairs of cells
    return Agreement(
        float(adjusted_rand_score(labels, clusters)),
        float(normalized_mutual_info_score(labels, clusters)),
        float(silhouette_score(embedding, labels, sample_size=sample, random_state=seed)),
    )


def device_of(module: TrainableModule) -> torch.device:
    """Where the module's weights are."""
    return next(module.parameters()).device


@contextmanager
def evaluating(module: TrainableModule, *, seed: int = 0) -> Iterator[None]:
    """Evaluation mode without gradients, and random numbers that follow from ``seed``.

    The module's own mode and the caller's random numbers come back afterwards.
    """
    training = module.training
    module.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
    finally:
        module.train(training)


def check_samples(n_samples: int) -> None:
    """Refuse to average over no draws.

    Raises:
        ValueError: ``n_samples`` is below 1.

    """
    if n_samples < 1:
        raise ValueError(f"n_samples must be at least 1, not {n_samples}.")


def _table(module: TrainableModule, adata: AnnData | CellTable) -> CellTable:
    """Take what the module is fed, unless that was done before."""
    return adata if isinstance(adata, CellTable) else CellTable.of(adata, covariates_of(module))
