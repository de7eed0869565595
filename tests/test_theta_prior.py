"""The prior of θ: the gradient that it adds, where it leads, and what it needs."""

import numpy as np
import pytest
import torch
from anndata import AnnData
from scipy import sparse
from torch.distributions import Normal

from nbvae import NBVAE, Trainer, TrainerSettings
from nbvae.train.state import TrainingState

SETTINGS = {"max_epochs": 30, "batch_size": 16, "device": "cpu", "progress": False}


def model(**options):
    torch.manual_seed(0)
    return NBVAE(12, 2, n_hidden=16, **options)


@pytest.mark.parametrize(("sd", "n_cells"), [(0.5, 53), (2.0, 7)])
def test_its_gradient_is_that_of_a_normal_density(sd, n_cells):
    """Else it would be another prior: its share of a cell is −log p(log θ) / N."""
    module = model()
    state = TrainingState(module, TrainerSettings(theta_prior=sd), {}, n_cells)
    log_theta = module.log_theta.detach().clone().requires_grad_()
    (-Normal(0.0, sd).log_prob(log_theta).sum() / n_cells).backward()
    for weights in module.parameters():
        weights.grad = torch.full_like(weights, 0.1)
    state.update_weights(1e-3)
    torch.testing.assert_close(module.log_theta.grad, 0.1 + log_theta.grad)
    others = (weights for weights in module.parameters() if weights is not module.log_theta)
    assert all((weights.grad == 0.1).all() for weights in others)


def test_an_estimated_prior_is_one_at_its_best_mean_and_spread():
    """Its gradient is that of log sd · G/N, by autograd, with the least spread in the sd."""
    module = model()
    state = TrainingState(module, TrainerSettings(theta_prior="estimated"), {}, 53)
    with torch.no_grad():
        module.log_theta.copy_(torch.randn_like(module.log_theta))
    log_theta = module.log_theta.detach().clone().requires_grad_()
    spread = ((log_theta - log_theta.mean()) ** 2).mean() + 0.1**2
    (spread.sqrt().log() * log_theta.numel() / 53).backward()
    for weights in module.parameters():
        weights.grad = torch.full_like(weights, 0.1)
    state.update_weights(1e-3)
    torch.testing.assert_close(module.log_theta.grad, 0.1 + log_theta.grad)


@pytest.mark.parametrize(("prior", "times"), [(None, 1), (0.5, 1), ("estimated", 3)])
def test_with_an_estimated_prior_theta_moves_three_times_as_fast(prior, times):
    """The first step of Adam is one learning rate long, whatever the gradient."""
    module = model()
    state = TrainingState(module, TrainerSettings(theta_prior=prior), {}, 53)
    before = {name: weights.detach().clone() for name, weights in module.named_parameters()}
    for weights in module.parameters():
        weights.grad = torch.ones_like(weights)
    state.update_weights(1e-3)
    for name, weights in module.named_parameters():
        step = times * 1e-3 if name == "log_theta" else 1e-3
        torch.testing.assert_close(before[name] - weights, torch.full_like(weights, step))


def test_a_run_with_an_estimated_prior_resumes_bit_for_bit(small, tmp_path, monkeypatch):
    """Else θ would lose its rate, or Adam its moments, at the first interruption."""
    trainer = Trainer(**SETTINGS | {"max_epochs": 4}, theta_prior="estimated")
    undisturbed, cut, whole = model(), model(), Trainer._train_epoch
    trainer.fit(undisturbed, small)

    def dying(self, state, *others):
        if state.epoch == 2:
            raise SystemExit("power cut")
        return whole(self, state, *others)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Trainer, "_train_epoch", dying)
        trainer.fit(cut, small, checkpoint=tmp_path / "run")
    resumed = model()
    trainer.fit(resumed, small, checkpoint=tmp_path / "run")
    for ours, theirs in zip(resumed.parameters(), undisturbed.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.slow
def test_an_estimated_prior_finds_where_the_genes_are():
    """Else rare genes would be pulled to θ = 1 wherever the others are, or not at all."""
    rng = np.random.default_rng(0)
    log_theta = rng.normal(1.4, 0.3, size=120)
    mean = np.exp(rng.normal(-0.5, 1, size=120)) * np.ones((400, 1))
    counts = rng.poisson(mean * rng.gamma(np.exp(log_theta), np.exp(-log_theta), mean.shape))
    adata = AnnData(sparse.csr_matrix(counts[counts.sum(axis=1) > 0], dtype=np.float32))
    error = {}
    for prior in (None, 0.5, "estimated"):
        module = NBVAE.for_counts(adata, 2, n_hidden=16, seed=0)
        Trainer(**SETTINGS | {"max_epochs": 20}, theta_prior=prior, holdout_fraction=0).fit(
            module, adata
        )
        found = module.log_theta.detach().numpy()
        error[prior] = np.sqrt(np.mean((found - log_theta) ** 2))
    assert error["estimated"] < 0.7 * min(error[None], error[0.5])


def test_a_narrow_prior_keeps_theta_at_one_and_a_wide_one_is_none(small):
    """Else it would pull elsewhere, or by an amount that does not depend on its width."""
    ends = {}
    for sd in (None, 1e4, 0.5, 0.02):
        module = NBVAE.for_counts(small, 2, n_hidden=16, seed=0)
        settings = SETTINGS | {"batch_size": 64, "learning_rate": 0.05, "holdout_fraction": 0}
        Trainer(**settings, theta_prior=sd).fit(module, small)
        ends[sd] = module.log_theta.detach().numpy()
    np.testing.assert_allclose(ends[1e4], ends[None], atol=1e-3)
    assert np.abs(ends[0.02]).max() < 0.1
    assert np.abs(ends[0.02]).mean() < np.abs(ends[0.5]).mean() < np.abs(ends[None]).mean()


def test_the_history_is_without_it(small):
    """Else runs with and without a prior could not be compared."""
    first = [
        Trainer(**SETTINGS | {"max_epochs": 1}, theta_prior=sd, learning_rate=1e-9)
        .fit(model(), small)
        .train_neg_elbo.iloc[0]
        for sd in (None, 0.1)
    ]
    assert first[0] == pytest.approx(first[1], rel=1e-6)


def test_a_module_without_theta_is_refused(small):
    """Else the reader would believe in a prior that is not there."""
    with pytest.raises(ValueError, match=r"no log_theta .* Leave theta_prior out"):
        Trainer(**SETTINGS, theta_prior=0.5).fit(model(likelihood="poisson"), small)
