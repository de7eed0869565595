"""How good a trained module is: held-out bounds, latent space, agreement with known labels."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

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
from torch import Tensor, nn

from nbvae.cells import Cells, loss_of
from nbvae.module import kl_to_standard_normal

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
    module: nn.Module,
    adata: AnnData | Cells,
    *,
    cells: np.ndarray | None = None,
    n_samples: int = 1,
    seed: int = 0,
) -> Elbo:
    """Estimate the negative ELBO of some cells; nothing is learned from them.

    Args:
        module: returns ``reconstruction`` and ``kl`` of each cell; called by ``loss_of``.
        adata: the counts, or ``Cells.of`` them.
        cells: row numbers; all cells when left out.
        n_samples: draws of z for each cell, averaged.
        seed: seed of these draws; the same seed compares two modules with the same noise.

    Raises:
        ValueError: ``cells`` is empty, or ``n_samples`` is below 1.

    """
    check_samples(n_samples)
    data = adata if isinstance(adata, Cells) else Cells.of(adata, module)
    cells = _rows(data, cells)
    terms = np.zeros(2)
    with evaluating(module, seed=seed):
        minibatches = data.minibatches_with_entries(cells, BATCH_SIZE, device_of(module))
        for x, entries, others in minibatches:
            for _ in range(n_samples):
                output = loss_of(module, x, entries, **others)
                # off the device first: numpy reads no GPU memory, and MPS has no doubles
                cell_terms = torch.stack([output.reconstruction, output.kl]).cpu().double()
                terms += cell_terms.sum(dim=1).numpy()
    reconstruction, kl = (terms / (len(cells) * n_samples)).tolist()
    return Elbo(reconstruction + kl, reconstruction, kl)


def importance_weighted_bound(
    module: nn.Module,
    adata: AnnData | Cells,
    *,
    cells: np.ndarray | None = None,
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
        adata: the counts, or ``Cells.of`` them.
        cells: row numbers; all cells when left out.
        n_samples: S, draws of z for each cell.
        seed: seed of these draws.

    Returns:
        Mean over cells, in nats; lower is better, as with the negative ELBO.

    Raises:
        ValueError: ``cells`` is empty, or ``n_samples`` is below 1.

    """
    check_samples(n_samples)
    data = adata if isinstance(adata, Cells) else Cells.of(adata, module)
    cells = _rows(data, cells)
    total = 0.0
    with evaluating(module, seed=seed):
        for x, others in data.minibatches(cells, BATCH_SIZE, device_of(module)):
            log_weights = _log_weights(module, x, others, n_samples)
            total -= (log_weights.logsumexp(dim=0) - math.log(n_samples)).sum().item()
    return total / len(cells)


def _log_weights(module: nn.Module, x: Tensor, others: dict[str, Tensor], n_samples: int) -> Tensor:
    """Compute log p(x | z) + log p(z) − log q(z | x) for draws of z from q. (n_samples, N).

    With z = mean + sd · noise, log p(z) − log q(z | x) is ½ Σ (noise² + log sd² − z²). One draw
    at a time: only one (N, G) matrix of log-probabilities is in memory.
    """
    q = module.inference(x, **others)
    log_weights = []
    for _ in range(n_samples):
        noise = torch.randn_like(q.qz_mean)  # (N, K)
        z = q.qz_mean + (0.5 * q.qz_logvar).exp() * noise
        p = module.generative(z, x.sum(dim=-1, keepdim=True), **others)
        log_prob = module.likelihood.log_prob(x, p).sum(dim=-1)  # (N,)
        log_ratio = 0.5 * (noise.square() + q.qz_logvar - z.square()).sum(dim=-1)
        log_weights.append((log_prob + log_ratio).cpu().double())
    return torch.stack(log_weights)


def encode(module: nn.Module, adata: AnnData) -> Latent:
    """Compute q(z | x) of each cell.

    Args:
        module: has ``inference(x)`` with ``qz_mean`` and ``qz_logvar``.
        adata: raw counts of the genes that the module was built for.

    """
    data = Cells.of(adata, module)
    means, sds = [], []
    with evaluating(module):
        for x, others in data.minibatches(_rows(data), BATCH_SIZE, device_of(module)):
            q = module.inference(x, **others)
            means.append(q.qz_mean.cpu().numpy())
            sds.append((0.5 * q.qz_logvar).exp().cpu().numpy())
    return Latent(np.concatenate(means), np.concatenate(sds))


def add_latent(module: nn.Module, adata: AnnData, *, key: str = "X_nbvae") -> None:
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


def device_of(module: nn.Module) -> torch.device:
    """Where the module's weights are."""
    return next(module.parameters()).device


@contextmanager
def evaluating(module: nn.Module, *, seed: int = 0) -> Iterator[None]:
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


def _rows(data: Cells, cells: np.ndarray | None = None) -> np.ndarray:
    """Take the row numbers that were asked for, or all."""
    rows = np.arange(data.counts.shape[0]) if cells is None else np.asarray(cells)
    if len(rows) == 0:
        raise ValueError("There are no cells to evaluate: cells is empty.")
    return rows
