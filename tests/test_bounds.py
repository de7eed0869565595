"""The importance-weighted bound against torch.distributions and an integral over z."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import NegativeBinomial, Normal

from nbvae import NBVAE, CellTable, Covariates
from nbvae.evaluation import elbo, importance_weighted_bound
from nbvae.module.evaluating import BATCH_SIZE

# Float32 on both sides: in each draw, sums of 12, 16 and 12 terms and ten functions.
ROUNDING = 2 * 50 * torch.finfo(torch.float32).eps


@pytest.fixture
def counts(small):
    return torch.from_numpy(small.X.toarray())


@pytest.fixture
def module():
    """Random weights, and a q that is narrower and elsewhere than the posterior."""
    module = NBVAE(12, 1, n_hidden=16)
    with torch.no_grad():
        module.decoder.layers[2].weight.mul_(3)
        module.logvar_encoder.layers[2].bias.fill_(-0.5)
    return module


def log_prob_of_counts(module, x, z):
    """log p(x | z) with torch.distributions. z: (N, n_latent). Returns (N,)."""
    px = module.generative(z, x.sum(dim=1, keepdim=True))
    theta = module.log_theta.exp()
    return NegativeBinomial(theta, probs=px.px_mean / (px.px_mean + theta)).log_prob(x).sum(dim=1)


def log_weight(module, x, z):
    """log p(x | z) + log p(z) − log q(z | x), each by torch.distributions. (N,)."""
    q = module.inference(x)
    posterior = Normal(q.qz_mean, q.qz_logvar.exp().sqrt())
    prior = Normal(0.0, 1.0)
    log_ratio = prior.log_prob(z) - posterior.log_prob(z)
    return log_prob_of_counts(module, x, z) + log_ratio.sum(dim=1)


def drawn(module, x, n_samples, seed):
    """The draws that the bound makes with this seed: `inference` makes one first, for itself."""
    torch.manual_seed(seed)
    q = module.inference(x)
    sd = q.qz_logvar.exp().sqrt()
    return [q.qz_mean + sd * torch.randn_like(sd) for _ in range(n_samples)]


@torch.no_grad()
@pytest.mark.parametrize("n_samples", [1, 7])
@pytest.mark.parametrize("n_latent", [1, 3])
def test_bound_equals_its_definition(small, counts, n_samples, n_latent):
    """Else a sign is wrong, the draws are summed for averaged, or 2π does not cancel."""
    module = NBVAE(12, n_latent, n_hidden=16)
    draws = drawn(module, counts, n_samples, seed=5)
    weights = torch.stack([log_weight(module, counts, z) for z in draws]).double()
    expected = -(weights.logsumexp(dim=0) - math.log(n_samples)).mean()
    result = importance_weighted_bound(module, small, n_samples=n_samples, seed=5)
    assert result == pytest.approx(expected.item(), rel=ROUNDING)


@pytest.mark.slow
def test_one_draw_is_the_negative_elbo_on_average(module, small):
    """Else it bounds something else: the KL is not the mean of log q − log p."""
    bounds = [importance_weighted_bound(module, small, n_samples=1, seed=s) for s in range(300)]
    standard_error = np.std(bounds) / math.sqrt(300)
    expected = elbo(module, small, n_samples=300).neg_elbo
    assert np.mean(bounds) == pytest.approx(expected, abs=6 * standard_error)


@pytest.mark.slow
def test_more_draws_tighten_the_bound(module, small):
    """Else it is no bound: averaged over seeds it must never rise with the number of draws."""
    means = [
        np.mean([importance_weighted_bound(module, small, n_samples=n, seed=s) for s in range(20)])
        for n in (1, 2, 5, 20)  # with seed 0 seven standard errors a step; to 100, three
    ]
    assert (np.diff(means) < 0).all()
    assert means[0] - means[-1] > 0.5  # this q is far from the posterior


@torch.no_grad()
def exact(module, x):
    """−log p(x) by the trapezoidal rule over z, mean over cells; for one latent dimension."""
    z = torch.linspace(-9, 9, 3001)
    log_prior = Normal(0.0, 1.0).log_prob(z)
    spacing = math.log(18 / 3000)
    total = 0.0
    for cell in x:
        log_prob = log_prob_of_counts(module, cell.expand(len(z), -1), z[:, None])
        total -= ((log_prob + log_prior).double().logsumexp(dim=0) + spacing).item()
    return total / len(x)


@pytest.mark.slow
def test_many_draws_reach_the_integral_from_above(module, small, counts):
    """Else the bound converges to something else than −log p(x)."""
    truth = exact(module, counts)
    few = np.mean([importance_weighted_bound(module, small, n_samples=3, seed=s) for s in range(9)])
    many = [importance_weighted_bound(module, small, n_samples=400, seed=s) for s in range(10)]
    assert few > truth + 0.05
    assert np.mean(many) == pytest.approx(truth, abs=6 * np.std(many) / math.sqrt(10))


def test_q_equal_to_the_posterior_leaves_no_gap(small, counts):
    """Else the bound would depend on the draws where it must not: every weight is p(x)."""
    module = NBVAE(12, 1, n_hidden=16)
    with torch.no_grad():  # the decoder ignores z, and q is the prior: that is the posterior
        module.decoder.layers[0].weight.zero_()
        for encoder in (module.mean_encoder, module.logvar_encoder):
            encoder.layers[2].weight.zero_()
            encoder.layers[2].bias.zero_()
    bounds = [importance_weighted_bound(module, small, n_samples=n, seed=n) for n in (1, 2, 10)]
    np.testing.assert_allclose(bounds, exact(module, counts), rtol=ROUNDING)
    assert elbo(module, small).neg_elbo == pytest.approx(bounds[0], rel=ROUNDING)


@pytest.mark.parametrize("likelihood", ["nb", "poisson", "zinb"])
@pytest.mark.parametrize("encode_covariates", [None, False, True])
def test_every_likelihood_and_covariates_have_a_bound(small, likelihood, encode_covariates):
    """Else it could not be compared between models. It is below the negative ELBO."""
    arguments = {"likelihood": likelihood}
    if encode_covariates is not None:
        arguments |= {
            "covariates": Covariates.of(small, "group"),
            "encode_covariates": encode_covariates,
        }
    module = NBVAE(12, 2, n_hidden=16, **arguments)
    bound = importance_weighted_bound(module, small, n_samples=50)
    assert bound < elbo(module, small, n_samples=50).neg_elbo


def test_batches_reach_the_decoder(small):
    """Else each cell would be scored as one of the first batch."""
    module = NBVAE(12, 1, n_hidden=16, covariates=Covariates.of(small, "group"))
    first, _, last = module.decoder.layers
    with torch.no_grad():  # three hidden units tell the group, and each raises its group's genes
        first.weight[:3] = torch.eye(4)[1:]
        first.bias[:3] = 0
        last.weight[:, :3] = 2 * torch.eye(3).repeat_interleave(4, dim=0)
    alone = [
        importance_weighted_bound(
            module, small, indices=np.flatnonzero(small.obs["group"] == level)
        )
        for level in ("a", "b", "c")
    ]
    share = small.obs["group"].value_counts(normalize=True)[["a", "b", "c"]]
    whole = importance_weighted_bound(module, small)
    assert whole == pytest.approx(alone @ share, abs=0.2)  # other draws, the same batches
    renamed = small.copy()
    renamed.obs["group"] = renamed.obs["group"].map({"a": "b", "b": "c", "c": "a"})
    assert importance_weighted_bound(module, renamed) > whole + 5


def test_cells_weigh_equally_across_minibatches(sample):
    """Else the cells of the last, smaller minibatch would count more."""
    module = NBVAE(765, 1, n_hidden=8)
    with torch.no_grad():  # q so narrow that the draws do not matter
        module.logvar_encoder.layers[2].bias.fill_(-25.0)
    assert BATCH_SIZE < sample.n_obs < 2 * BATCH_SIZE
    whole, head, tail = (
        importance_weighted_bound(module, sample, indices=cells, n_samples=1)
        for cells in (None, np.arange(BATCH_SIZE), np.arange(BATCH_SIZE, 700))
    )
    expected = (BATCH_SIZE * head + (700 - BATCH_SIZE) * tail) / 700
    assert whole == pytest.approx(expected, abs=0.5)  # of about 2,000 nats
    assert head != pytest.approx(tail, abs=5)


def test_bound_takes_checked_cells_and_is_reproducible(module, small):
    """Else all counts would be checked again, or two modules not be compared."""
    first = importance_weighted_bound(module, small, n_samples=3, seed=1)
    assert (
        importance_weighted_bound(module, CellTable.of(small, None), n_samples=3, seed=1) == first
    )
    assert importance_weighted_bound(module, small, n_samples=3, seed=2) != first


def test_the_bound_leaves_random_numbers_and_mode(module, small):
    """Else looking at a module would change how its training goes on."""
    state = torch.random.get_rng_state()
    module.train()
    importance_weighted_bound(module, small, n_samples=2)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert module.training
    assert all(parameter.grad is None for parameter in module.parameters())


def test_nothing_to_average_is_an_error(module, small):
    """Else the mean over no draws or no cells would be NaN."""
    with pytest.raises(ValueError, match="n_samples must be a whole number of at least 1, not 0"):
        importance_weighted_bound(module, small, n_samples=0)
    with pytest.raises(ValueError, match="no cells"):
        importance_weighted_bound(module, small, indices=[])
