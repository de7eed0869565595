"""Held-out ELBO, latent space and agreement with labels."""

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
import torch
from rounding import float32_error
from torch import nn
from torch.distributions import Normal, kl_divergence

from nbvae import NBVAE, CellTable, loss_of
from nbvae.evaluation import add_latent, cluster_agreement, elbo, encode
from nbvae.module.evaluating import BATCH_SIZE


@pytest.fixture
def module():
    return NBVAE(12, 3, n_hidden=16)


@pytest.fixture
def counts(small):
    return torch.from_numpy(small.X.toarray())


def with_noise(module, adata, seed, draws=1, cells=range(53)):
    """The two terms of each cell, with the same random numbers drawn by hand.

    By the step that training and `elbo` take: that it is the plain one is tested in test_fast.py,
    and in float32 the two differ by rounding.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = np.array(cells)
    [minibatch] = CellTable.of(adata, None).minibatches(rows, len(rows))
    with torch.no_grad():
        noises = [
            torch.randn(len(rows), module.n_latent, generator=generator) for _ in range(draws)
        ]
        outputs = [loss_of(module, minibatch, noise=noise) for noise in noises]
    return [
        torch.stack([getattr(output, term) for output in outputs]).double().mean(dim=0)
        for term in ("reconstruction", "kl")
    ]


# ---------------------------------------------------------------- elbo


@pytest.mark.parametrize("n_samples", [1, 3])
def test_elbo_is_the_mean_over_cells_and_draws(module, small, n_samples):
    """Else the reported number is a sum, a mean of means, or of the first draw only."""
    reconstruction, kl = with_noise(module, small, seed=5, draws=n_samples)
    result = elbo(module, small, n_samples=n_samples, seed=5)
    assert result.reconstruction == pytest.approx(reconstruction.mean().item(), rel=1e-6)
    assert result.kl == pytest.approx(kl.mean().item(), rel=1e-6)
    assert result.neg_elbo == pytest.approx((reconstruction + kl).mean().item(), rel=1e-6)


def test_elbo_weights_cells_equally_across_minibatches(sample):
    """Else the cells of the last, smaller minibatch would count more."""
    module = NBVAE(765, 2, n_hidden=8)
    assert BATCH_SIZE < 700 < 2 * BATCH_SIZE
    minibatches = CellTable.of(sample, None).minibatches(np.arange(700), BATCH_SIZE)
    torch.manual_seed(2)
    with torch.no_grad():
        parts = [loss_of(module, minibatch).reconstruction for minibatch in minibatches]
    expected = torch.cat(parts).double().mean().item()
    assert elbo(module, sample, seed=2).reconstruction == pytest.approx(expected, rel=1e-6)


def test_elbo_of_some_cells(module, small):
    """Else the held-out ELBO would be one of other cells."""
    cells = np.array([50, 3, 17])
    reconstruction, _ = with_noise(module, small, seed=0, cells=cells)
    result = elbo(module, small, indices=cells)
    assert result.reconstruction == pytest.approx(reconstruction.mean().item(), rel=1e-6)
    assert elbo(module, small, indices=[50, 3, 17]) == result


def test_elbo_takes_checked_cells(module, small):
    """Else the trainer would have to check all counts again after each epoch."""
    assert elbo(module, CellTable.of(small, None)) == elbo(module, small)


def test_elbo_is_reproducible(module, small):
    """Else two modules could not be compared with the same noise."""
    assert elbo(module, small, seed=1) == elbo(module, small, seed=1)
    assert elbo(module, small, seed=1) != elbo(module, small, seed=2)


def test_more_samples_scatter_less(module, small):
    """Else averaging over draws would not average."""
    nn.init.constant_(module.logvar_encoder.layers[2].bias, 1.0)
    one, many = (
        np.std([elbo(module, small, n_samples=n, seed=s).reconstruction for s in range(30)])
        for n in (1, 16)
    )
    assert many < one / 2  # √16 = 4 expected; 2 leaves room for chance


def test_evaluation_leaves_random_numbers_weights_and_gradients(module, small):
    """Else looking at a module would change how its training goes on."""
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.random.get_rng_state()
    elbo(module, small, seed=9)
    encode(module, small)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_the_modules_mode_comes_back(module, small, training):
    """Else evaluating in mid-training would switch dropout off for good."""
    seen = []
    module.decoder.layers.register_forward_pre_hook(
        lambda m, _: seen.append((m.training, torch.is_grad_enabled()))
    )
    module.train(training)
    elbo(module, small)
    assert seen == [(False, False)]
    assert module.training is training


def test_the_modules_mode_comes_back_after_an_error(small):
    """Else a wrong matrix would leave the module in evaluation mode."""
    module = NBVAE(7)
    with pytest.raises(ValueError, match="models 7 genes"):
        elbo(module, small)
    assert module.training


def test_no_cells_is_an_error(module, small):
    """Else the mean over no cells would be NaN."""
    with pytest.raises(ValueError, match="no cells"):
        elbo(module, small, indices=np.array([], dtype=int))


def test_no_samples_is_an_error(module, small):
    """Else the mean over no draws would be NaN."""
    with pytest.raises(ValueError, match="n_samples"):
        elbo(module, small, n_samples=0)


# ---------------------------------------------------------------- latent space


def test_encode_is_the_approximate_posterior(module, small, counts):
    """Else the embedding would hold draws, or variances where deviations are promised."""
    with torch.no_grad():
        q = module.inference(counts)
    latent = encode(module, small)
    np.testing.assert_allclose(latent.mean, q.qz_mean.numpy(), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(latent.sd**2, np.exp(q.qz_logvar.numpy()), rtol=1e-5)


def test_encode_keeps_the_order_across_minibatches(sample):
    """Else cells beyond the first minibatch would get other cells' states."""
    module = NBVAE(765, 2, n_hidden=8)
    whole, tail = encode(module, sample), encode(module, sample[600:])
    assert whole.mean.shape == whole.sd.shape == (700, 2)
    x = torch.from_numpy(sample[600:].X.toarray()).log1p()
    off = abs(whole.mean[600:] - tail.mean)  # each is that far from the exact mean at most
    assert (off <= 2 * float32_error(module.mean_encoder, x)).all()


def test_latent_kl_is_that_of_each_coordinate(module, small):
    """Else a coordinate that carries information could not be told from a collapsed one."""
    latent = encode(module, small)
    mean, sd = (torch.from_numpy(values).double() for values in (latent.mean, latent.sd))
    expected = kl_divergence(Normal(mean, sd), Normal(0.0, 1.0))
    terms = mean.square() + sd.square() + 1 + 2 * sd.log().abs()  # each rounded a few times
    off = (torch.from_numpy(latent.kl).double() - expected).abs()
    assert (off <= 8 * torch.finfo(torch.float32).eps * terms).all()
    assert latent.kl.shape == (53, 3)


def test_add_latent_stores_the_means(module, small):
    """Else scanpy would find nothing, or something else, under the key."""
    add_latent(module, small)
    add_latent(module, small, key="X_other")
    for key in ("X_nbvae", "X_other"):
        np.testing.assert_array_equal(small.obsm[key], encode(module, small).mean)


# ---------------------------------------------------------------- agreement


@pytest.fixture
def blobs():
    """Three groups of 40 points, far apart, and their labels."""
    rng = np.random.default_rng(0)
    labels = np.repeat(["B", "T", "NK"], 40)
    centres = np.repeat([[0, 0], [50, 0], [0, 50]], 40, axis=0)
    return centres + rng.normal(size=(120, 2)), labels


def test_separate_groups_agree_fully(blobs):
    """Else a perfect embedding would not score 1."""
    agreement = cluster_agreement(*blobs, n_clusters=3)
    assert agreement.ari == pytest.approx(1)
    assert agreement.nmi == pytest.approx(1)
    assert agreement.silhouette > 0.9


def test_shuffled_labels_do_not_agree(blobs):
    """Else chance would score more than nothing."""
    points, labels = blobs
    shuffled = np.random.default_rng(1).permutation(labels)
    agreement = cluster_agreement(points, shuffled, n_clusters=3)
    assert abs(agreement.ari) < 0.05
    assert abs(agreement.nmi) < 0.05
    assert agreement.silhouette < 0


def test_merged_groups_agree_in_part(blobs):
    """Else ARI and NMI would be mixed up, or measure something else than sklearn's."""
    points, labels = blobs
    merged = np.where(labels == "NK", "T", labels)  # what two clusters would find at best
    agreement = cluster_agreement(points, merged, n_clusters=3)
    assert agreement.ari == pytest.approx(sklearn.metrics.adjusted_rand_score(labels, merged))
    assert agreement.nmi == pytest.approx(
        sklearn.metrics.normalized_mutual_info_score(labels, merged)
    )
    assert agreement.ari != pytest.approx(agreement.nmi)


@pytest.mark.parametrize("make", [pd.Categorical, pd.Series, list])
def test_labels_may_be_of_any_kind(blobs, make):
    """Else a column of obs would have to be converted first."""
    points, labels = blobs
    assert cluster_agreement(points, make(labels), n_clusters=3).ari == pytest.approx(1)


def test_agreement_is_reproducible(blobs):
    """Else a stored output of the book would change from run to run."""
    noise = np.random.default_rng(3).normal(size=(120, 2))
    results = {cluster_agreement(noise, blobs[1], n_clusters=5, seed=4) for _ in range(3)}
    assert len(results) == 1


def test_a_collapsed_embedding_scores_zero(blobs):
    """Else posterior collapse would end in a warning instead of a number."""
    assert cluster_agreement(np.zeros((120, 2)), blobs[1], n_clusters=3).ari == 0


def test_lengths_must_agree(blobs):
    """Else labels would be compared with other cells' clusters."""
    with pytest.raises(ValueError, match=r"120 cells are embedded, but 119 have labels"):
        cluster_agreement(blobs[0], blobs[1][:-1])
