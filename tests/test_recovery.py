"""Training finds the model that the data were drawn from: θ, the shares, the latent space.

1,500 cells × 120 genes from a model with two latent dimensions, whose θ runs from 0.3 to 30 and
whose libraries are like those of the sample. The bounds below leave room for another seed; what
was measured stands beside them.
"""

from typing import NamedTuple

import numpy as np
import pytest
import scipy.stats
import torch
from anndata import AnnData

from nbvae import NBVAE, Trainer
from nbvae.evaluation import elbo, encode, importance_weighted_bound
from nbvae.expression import denoised

pytestmark = pytest.mark.slow

N, G, K = 1500, 120, 2
EXPRESSED = 1.0  # mean count from which on θ is asked for: below, counts say little about it


class Truth(NamedTuple):
    adata: AnnData
    z: np.ndarray  # (N, K)
    slope: np.ndarray  # (K, G), of the logits in z
    shares: np.ndarray  # (N, G)
    mean: np.ndarray  # (N, G)
    theta: np.ndarray  # (G,)


def simulate(seed=0):
    """z ~ N(0, I), ρ = softmax(bias + z · slope), x ~ NB(ℓρ, θ)."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(N, K))
    slope, bias = rng.normal(scale=0.5, size=(K, G)), rng.normal(scale=1.2, size=G)
    shares = np.exp(bias + z @ slope)
    shares /= shares.sum(axis=1, keepdims=True)
    theta = np.exp(rng.uniform(np.log(0.3), np.log(30), G))
    mean = rng.lognormal(np.log(1500), 0.4, size=(N, 1)) * shares
    x = rng.poisson(rng.gamma(theta, mean / theta))
    return Truth(AnnData(X=x.astype(np.float32)), z, slope, shares, mean, theta)


@pytest.fixture(scope="module")
def truth():
    return simulate()


@pytest.fixture(scope="module")
def trained(truth):
    """The default trainer; one epoch more or less does not matter here."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = NBVAE.for_counts(truth.adata, n_latent=K)
        Trainer(device="cpu", progress=False).fit(module, truth.adata)
    return module


def expressed(truth):
    return truth.adata.X.mean(axis=0) > EXPRESSED


def test_theta_is_found_up_to_its_rank(truth, trained):
    """Else the dispersion of a gene means nothing. Measured: 0.93 to 0.99."""
    genes = expressed(truth)
    assert genes.sum() > 100
    theta = trained.log_theta.detach().exp().numpy()
    assert scipy.stats.spearmanr(theta[genes], truth.theta[genes]).statistic > 0.9


def test_theta_of_dispersed_genes_is_found_in_size(truth, trained):
    """Else θ is right only in its order: 1/θ, or its square root. Measured: 10 % off."""
    genes = expressed(truth) & (truth.theta < 3)  # a larger θ is hardly told from θ = ∞
    ratio = trained.log_theta.detach().exp().numpy()[genes] / truth.theta[genes]
    assert genes.sum() > 30
    assert np.median(abs(np.log(ratio))) < 0.2
    assert 0.8 < np.median(ratio) < 1.25


def test_shares_are_found(truth, trained):
    """Else what is shown as denoised expression is not the expression.

    Measured: 8 % off, where the counts themselves are 53 % off and a gene's mean share 38 %;
    correlation 0.98 over cells in the median gene.
    """
    found, genes = denoised(trained, truth.adata), expressed(truth)
    library = truth.adata.X.sum(axis=1, keepdims=True)
    overall = truth.adata.X.sum(axis=0) / library.sum()
    off, counts_off, mean_off = (
        np.median(abs(np.log(estimate / truth.shares))[:, genes])
        for estimate in (found, (truth.adata.X + 0.5) / library, np.tile(overall, (N, 1)))
    )
    assert off < 0.12
    assert off < mean_off / 3
    assert off < counts_off / 4
    correlations = [
        np.corrcoef(found[:, gene], truth.shares[:, gene])[0, 1] for gene in np.flatnonzero(genes)
    ]
    assert np.median(correlations) > 0.95
    assert min(correlations) > 0.7


def reachable_r2(truth):
    """1 − the variance that the counts leave to z: the inverse of Fisher's information plus 1.

    With d = ∂ log μ/∂z, a count adds d dᵀ μ/(1 + μ/θ) to it, the prior the identity.
    """
    by_z = truth.slope.T[None] - (truth.shares @ truth.slope.T)[:, None]  # (N, G, K)
    weight = truth.mean / (1 + truth.mean / truth.theta)
    information = np.einsum("ngi,ng,ngj->nij", by_z, weight, by_z) + np.eye(K)
    return 1 - np.linalg.inv(information).trace(axis1=1, axis2=2).mean() / K


def test_latent_space_is_found_up_to_an_affine_map(truth, trained):
    """Else what the cells differ in got lost. Measured R²: 0.97 to 0.98; reachable: 0.988.

    A rotated z gives the same counts, so the axes themselves can't be found.
    """
    mean = encode(trained, truth.adata).mean
    design = np.column_stack([mean, np.ones(N)])
    coefficients, *_ = np.linalg.lstsq(design, truth.z, rcond=None)
    r2 = 1 - (truth.z - design @ coefficients).var(axis=0) / truth.z.var(axis=0)
    assert 0.98 < reachable_r2(truth) < 0.995
    assert r2.min() > 0.95
    assert r2.max() < reachable_r2(truth) + 0.01  # more would mean that z was leaked


def test_spread_of_q_is_that_of_the_posterior(truth, trained):
    """Else q is too sure, or not sure enough, of where a cell lies.

    Measured: 1.3 to 1.8 times what Fisher's information leaves with the true θ.
    """
    latent = encode(trained, truth.adata)
    scale = latent.mean.var(axis=0) + (latent.sd**2).mean(axis=0)  # of each axis, close to 1
    left = ((latent.sd**2).mean(axis=0) / scale).mean()
    assert 0.7 < left / (1 - reachable_r2(truth)) < 2.2


def test_held_out_score_is_close_to_that_of_the_true_model(truth, trained):
    """Else training stopped far from what the data allow. New cells; the true z is not used.

    Told z, the true model needs fewer nats than any model that is not told, by what the counts
    say about z: about 4, the KL. Measured: 9 nats above, 5 of them due to training.
    """
    fresh = simulate_again(truth)
    bound = importance_weighted_bound(trained, fresh.adata, n_samples=50)
    p = truth.theta / (truth.theta + fresh.mean)
    told = -scipy.stats.nbinom.logpmf(fresh.adata.X, truth.theta, p).sum(axis=1).mean()
    assert told < bound < elbo(trained, fresh.adata).neg_elbo
    assert bound - told < 12


def simulate_again(truth, seed=99):
    """More cells of the same genes."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(N, K))
    start = np.log(truth.shares[0]) - truth.z[0] @ truth.slope  # the bias, up to a constant
    shares = np.exp(start + z @ truth.slope)
    shares /= shares.sum(axis=1, keepdims=True)
    mean = rng.lognormal(np.log(1500), 0.4, size=(N, 1)) * shares
    x = rng.poisson(rng.gamma(truth.theta, mean / truth.theta))
    return Truth(AnnData(X=x.astype(np.float32)), z, truth.slope, shares, mean, truth.theta)
