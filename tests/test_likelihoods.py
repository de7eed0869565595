"""The Poisson and the zero-inflated negative binomial against mpmath, scipy and finite differences.

The negative binomial itself is checked in test_distributions.py.
"""

import math

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch
from anndata import AnnData
from exact import each_exactly, exact_nb

from nbvae import NBVAE, Trainer
from nbvae.module.distributions import nb_log_prob, nb_sample, poisson_log_prob, zinb_log_prob
from nbvae.module.likelihoods import LIKELIHOODS
from nbvae.module.outputs import GenerativeOutput

MEANS = [1e-8, 1e-4, 0.01, 0.7, 1.0, 30.0, 1e3, 1e6]
THETAS = [0.01, 0.5, 10.0, 1e4]
COUNTS = [0, 1, 2, 7, 16, 17, 100, 10_000, 1_000_000]
LOGITS = [-60.0, -8.0, -1.0, 0.0, 2.0, 9.0, 60.0]


def grid(dtype, *axes):
    """All combinations of x, log μ, … as tensors, rounded as the function will see them."""
    points = torch.cartesian_prod(*(torch.tensor(axis, dtype=torch.float64) for axis in axes))
    return [column.to(dtype) for column in points.T]


def exact_poisson(x, log_mean):
    return x * log_mean - mpmath.exp(log_mean) - mpmath.loggamma(x + 1)


def exact_zinb(x, log_mean, log_theta, dropout_logits):
    lost = 1 / (1 + mpmath.exp(-dropout_logits))
    kept = mpmath.log(1 - lost) + exact_nb(x, log_mean, log_theta)
    return kept if x > 0 else mpmath.log(lost + mpmath.exp(kept))


POISSON = (COUNTS, np.log(MEANS))
ZINB = (COUNTS, np.log(MEANS), np.log(THETAS), LOGITS)
FUNCTIONS = [(poisson_log_prob, exact_poisson, POISSON), (zinb_log_prob, exact_zinb, ZINB)]


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize(("ours", "exactly", "axes"), FUNCTIONS)
def test_log_prob_equals_the_exact_value(ours, exactly, axes, dtype, tolerance):
    """Else a term is wrong, or digits are lost for some mean, θ, π or count."""
    points = grid(dtype, *axes)
    result = ours(*points)
    assert result.dtype == dtype
    # a probability close to 1 has a logarithm close to 0, known to the last digit of 1
    np.testing.assert_allclose(
        result.double().numpy(),
        each_exactly(exactly, *points),
        rtol=tolerance,
        atol=10 * torch.finfo(dtype).eps,
    )


@pytest.mark.parametrize("x", [1.0, 37.0, 1e4, 1e6])
def test_poisson_keeps_its_digits_near_the_mean(x):
    """Else log p is the difference of numbers of the size of x, as in the textbook formula."""
    means = x * np.array([0.9, 0.999, 1 - 1e-6, 1, 1 + 1e-6, 1.001, 1.1])
    log_mean = torch.from_numpy(means).log()
    counts = torch.full_like(log_mean, x)
    expected = each_exactly(exact_poisson, counts, log_mean)
    np.testing.assert_allclose(poisson_log_prob(counts, log_mean).numpy(), expected, rtol=1e-12)
    single = poisson_log_prob(counts.float(), log_mean.float())
    expected = each_exactly(exact_poisson, counts.float(), log_mean.float())
    np.testing.assert_allclose(single.numpy(), expected, rtol=5e-5)


def test_poisson_equals_scipy():
    """Else our oracle and our function share a mistake."""
    x, log_mean = grid(torch.float64, [0, 1, 2, 7, 16, 100], np.log([1e-4, 0.01, 0.7, 30.0]))
    expected = scipy.stats.poisson.logpmf(x.numpy(), log_mean.exp().numpy())
    np.testing.assert_allclose(poisson_log_prob(x, log_mean).numpy(), expected, rtol=1e-10)


def test_zinb_equals_scipy():
    """Else π is the share that is kept, or zeros of the second kind are not counted."""
    axes = ([0, 1, 2, 7, 100], np.log([0.01, 0.7, 30.0]), np.log([0.5, 10.0]), [-3.0, 0.0, 2.0])
    x, log_mean, log_theta, logits = grid(torch.float64, *axes)
    mean, theta = log_mean.exp().numpy(), log_theta.exp().numpy()
    lost = scipy.special.expit(logits.numpy())
    pmf = scipy.stats.nbinom.pmf(x.numpy(), theta, theta / (theta + mean))
    expected = np.log(lost * (x.numpy() == 0) + (1 - lost) * pmf)
    result = zinb_log_prob(x, log_mean, log_theta, logits).numpy()
    np.testing.assert_allclose(result, expected, rtol=1e-10)


@pytest.mark.parametrize(("mean", "enough"), [(0.3, 60), (5.0, 100), (100.0, 400)])
def test_probabilities_sum_to_one(mean, enough):
    """Else it is no distribution."""
    x = torch.arange(enough, dtype=torch.float64)
    log_mean, log_theta = torch.tensor([mean, 1e3], dtype=torch.float64).log()
    logits = torch.tensor(0.4, dtype=torch.float64)
    for log_prob in (
        poisson_log_prob(x, log_mean),
        zinb_log_prob(x, log_mean, log_theta, logits),
    ):
        assert log_prob.exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_without_dropout_it_is_the_negative_binomial():
    """Else zero inflation would add something of its own."""
    x, log_mean, log_theta = grid(torch.float64, *ZINB[:3])
    result = zinb_log_prob(x, log_mean, log_theta, torch.full_like(x, -1e9))
    torch.testing.assert_close(result, nb_log_prob(x, log_mean, log_theta), rtol=1e-12, atol=1e-15)


def test_a_large_theta_is_the_poisson_distribution():
    """Else the two distributions would not be neighbours."""
    x, log_mean = grid(torch.float64, [0, 1, 5, 30, 1000], np.log([0.01, 1.0, 30.0, 1e3]))
    result = nb_log_prob(x, log_mean, torch.tensor(1e13).double().log())
    torch.testing.assert_close(result, poisson_log_prob(x, log_mean), rtol=1e-7, atol=0)


def test_arguments_broadcast():
    """Else one θ a gene and one library a cell could not be scored together."""
    x, log_mean, log_theta = (
        torch.tensor([[0.0, 1, 2], [3, 0, 7]]),
        torch.randn(2, 1),
        torch.ones(3),
    )
    logits = torch.tensor(0.3)
    assert poisson_log_prob(x, log_mean).shape == (2, 3)
    assert poisson_log_prob(torch.tensor(2.0), torch.randn(4, 1, 5)).shape == (4, 1, 5)
    together = zinb_log_prob(x, log_mean, log_theta, logits)
    for cell in range(2):
        alone = zinb_log_prob(x[cell], log_mean[cell], log_theta, logits)
        torch.testing.assert_close(together[cell], alone)


# ---------------------------------------------------------------- the edges


def test_a_mean_of_zero_puts_all_mass_on_zero():
    """Else an empty cell, whose log-library is −inf, would make the loss NaN."""
    x, log_mean = torch.tensor([0.0, 1.0, 1e4]), torch.full((3,), -math.inf)
    certain = torch.tensor([0.0, -math.inf, -math.inf])
    assert torch.equal(poisson_log_prob(x, log_mean), certain)
    result = zinb_log_prob(x, log_mean, torch.zeros(3), torch.full((3,), 0.3))
    torch.testing.assert_close(result, certain, rtol=0, atol=1e-7)


@pytest.mark.parametrize("likelihood", ["poisson", "zinb"])
def test_an_empty_cell_costs_nothing_and_leaves_gradients_finite(likelihood):
    """Else one empty cell would turn every weight into NaN."""
    module, x = NBVAE(6, 2, likelihood=likelihood), torch.poisson(torch.full((4, 6), 3.0))
    x[2] = 0
    output = module(x)
    output.loss.backward()
    assert output.reconstruction[2].item() == pytest.approx(0, abs=1e-6)
    assert all(torch.isfinite(weights.grad).all() for weights in module.parameters())


@pytest.mark.parametrize("log_mean", [-100.0, -1000.0])
def test_a_count_where_almost_none_is_expected_stays_finite(log_mean):
    """Else a mean that underflows in float32 would make an unlucky count infinitely bad."""
    m = torch.tensor(log_mean, requires_grad=True)
    for log_prob in (
        poisson_log_prob(torch.tensor(1.0), m),
        zinb_log_prob(torch.tensor(1.0), m, torch.tensor(0.0), torch.tensor(-90.0)),
    ):
        (slope,) = torch.autograd.grad(log_prob, m)
        assert log_prob.item() == pytest.approx(log_mean, rel=1e-6)
        assert slope.item() == pytest.approx(1, rel=1e-6)


# ---------------------------------------------------------------- gradients

SMOOTH = ([0, 1, 7, 16, 50, 900], np.log([1e-3, 0.7, 30.0, 2e3]))


def test_poisson_gradients_equal_finite_differences():
    """Else training would follow another slope than that of the log-likelihood."""
    x, log_mean = grid(torch.float64, *SMOOTH)
    log_mean.requires_grad_()
    assert torch.autograd.gradcheck(lambda m: poisson_log_prob(x, m), log_mean, eps=1e-5)
    (slope,) = torch.autograd.grad(poisson_log_prob(x, log_mean).sum(), log_mean)
    torch.testing.assert_close(slope, x - log_mean.detach().exp(), rtol=1e-10, atol=1e-10)


def test_zinb_gradients_equal_finite_differences():
    """Else one of the three parameters would be learned in another direction."""
    x, *parameters = grid(torch.float64, *SMOOTH, np.log([0.01, 1.0, 40.0]), [-3.0, 0.0, 2.0])
    for parameter in parameters:
        parameter.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda m, t, d: zinb_log_prob(x, m, t, d), parameters, eps=1e-5, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(("ours", "axes"), [(poisson_log_prob, POISSON), (zinb_log_prob, ZINB)])
def test_gradients_are_finite_everywhere(ours, axes):
    """Else one extreme count, mean or π would turn every weight into NaN."""
    x, *parameters = grid(torch.float32, *axes)
    for parameter in parameters:
        parameter.requires_grad_()
    for slope in torch.autograd.grad(ours(x, *parameters).sum(), parameters):
        assert torch.isfinite(slope).all()


# ---------------------------------------------------------------- sampling

N_DRAWS = 40_000


def drawn(likelihood, mean, theta, lost):
    """Draws of one gene, in the shape that the module hands to a likelihood."""
    size = (N_DRAWS, 1)
    parameters = GenerativeOutput(
        torch.zeros(size),
        torch.full(size, math.log(mean)),
        torch.tensor([math.log(theta)]),
        torch.full(size, math.log(lost / (1 - lost))),
    )
    draws = LIKELIHOODS[likelihood].sample(parameters)
    assert draws.shape == size
    return draws.ravel().numpy().astype(int), parameters


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize(("mean", "theta", "lost"), [(0.4, 0.6, 0.1), (6.0, 2.0, 0.35)])
def test_samples_have_the_probabilities_of_the_counts(likelihood, mean, theta, lost):
    """Else replicated cells would come from another distribution than the one that is scored."""
    draws, parameters = drawn(likelihood, mean, theta, lost)
    x = torch.arange(200.0, dtype=torch.float64)[:, None]
    one = GenerativeOutput(*(None if p is None else p[:1].double() for p in parameters[:2]), None)
    one = one._replace(
        log_theta=parameters.log_theta.double(), dropout_logits=parameters.dropout_logits[:1]
    )
    probability = LIKELIHOODS[likelihood].log_prob(x, one).exp().ravel().numpy()
    edge = int(np.searchsorted(np.cumsum(probability), 0.995))  # the rare large counts in one bin
    expected = np.append(probability[:edge], 1 - probability[:edge].sum()) * N_DRAWS
    observed = np.bincount(draws.clip(max=edge), minlength=edge + 1)
    assert scipy.stats.chisquare(observed, expected).pvalue > 1e-4


def test_samples_have_the_moments_of_the_textbook():
    """Else sampler and score agree with each other and with nothing else."""
    mean, theta, lost = 6.0, 2.0, 0.35
    nb_variance = mean + mean**2 / theta
    for likelihood, expected, variance in (
        ("poisson", mean, mean),
        ("nb", mean, nb_variance),
        ("zinb", 0.65 * mean, 0.65 * (nb_variance + mean**2) - (0.65 * mean) ** 2),
    ):
        draws, _ = drawn(likelihood, mean, theta, lost)
        assert abs(draws.mean() - expected) < 5 * math.sqrt(variance / N_DRAWS)
        assert draws.var() == pytest.approx(variance, rel=0.1)


# ---------------------------------------------------------------- in a module


def test_each_module_has_the_parameters_that_its_likelihood_reads():
    """Else a Poisson model would carry a θ that nothing teaches, or a ZINB no π."""
    names = {
        likelihood: {name.split(".")[0] for name in NBVAE(4, likelihood=likelihood).state_dict()}
        for likelihood in LIKELIHOODS
    }
    networks = {"decoder", "mean_encoder", "logvar_encoder"}
    assert names["poisson"] == networks
    assert names["nb"] == networks | {"log_theta"}
    assert names["zinb"] == networks | {"log_theta", "dropout_decoder"}


@pytest.mark.parametrize("likelihood", ["poisson", "zinb"])
def test_the_loss_is_that_of_the_likelihood(small, likelihood):
    """Else a module would be called Poisson and be trained as something else."""
    module, x = NBVAE(12, 2, likelihood=likelihood), torch.from_numpy(small.X.toarray())
    noise = torch.randn(53, 2)
    q = module.inference(x, noise=noise)
    px = module.generative(q.z, x.sum(dim=1, keepdim=True))
    mean = px.px_mean.detach().double().numpy()
    if likelihood == "poisson":
        expected = scipy.stats.poisson.logpmf(x.numpy(), mean)
    else:
        theta = module.log_theta.detach().exp().double().numpy()
        lost = torch.sigmoid(module.dropout_decoder(q.z)).detach().double().numpy()
        pmf = scipy.stats.nbinom.pmf(x.numpy(), theta, theta / (theta + mean))
        expected = np.log(lost * (x.numpy() == 0) + (1 - lost) * pmf)
    reconstruction = module(x, noise=noise).reconstruction.detach().numpy()
    np.testing.assert_allclose(reconstruction, -expected.sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_gradients_reach_every_parameter(small, likelihood):
    """Else a part of the model would never learn."""
    module = NBVAE(12, 2, likelihood=likelihood)
    module(torch.from_numpy(small.X.toarray())).loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_an_unknown_likelihood_lists_the_known_ones():
    """Else a slip in a name would send the user to the source."""
    with pytest.raises(ValueError, match=r"likelihood 'normal'.* 'nb', 'poisson', 'zinb'"):
        NBVAE(5, likelihood="normal")


def simulated(likelihood, seed=0, n_cells=600, n_genes=60):
    """Cells of one latent dimension; θ = 2, and for "zinb" 40 % of all entries lost."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(n_cells, 1, generator=generator)
    slope, bias = torch.randn(2, n_genes, generator=generator)
    log_mean = math.log(600) + torch.log_softmax(bias + z * slope, dim=1)
    if likelihood == "poisson":
        x = torch.poisson(log_mean.exp(), generator=generator)
    else:
        x = nb_sample(log_mean, torch.tensor(math.log(2.0)), generator=generator)
    if likelihood == "zinb":
        x *= torch.rand(x.shape, generator=generator) > 0.4
    assert (x.sum(dim=1) > 0).all()
    return AnnData(X=x.numpy())


@torch.no_grad()
def neg_elbos(module, x):
    """−ELBO of each cell, averaged over 20 draws. (N,)."""
    outputs = [module(x) for _ in range(20)]
    return torch.stack([output.reconstruction + output.kl for output in outputs]).mean(dim=0)


@pytest.fixture(scope="module")
def scores():
    """−ELBO of each held-out cell, under each model, on data from each distribution."""
    found = {}
    for truth in LIKELIHOODS:
        adata = simulated(truth)
        for likelihood in LIKELIHOODS:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                module = NBVAE.for_counts(adata, n_latent=2, n_hidden=32, likelihood=likelihood)
                trainer = Trainer(device="cpu", progress=False, holdout_fraction=0.2)
                history = trainer.fit(module, adata)
                assert history["train_neg_elbo"].iloc[-1] < history["train_neg_elbo"].iloc[0] - 10
                x = torch.from_numpy(adata.X[trainer.held_out_cells])
                found[truth, likelihood] = neg_elbos(module, x).double().numpy()
    return found


@pytest.mark.slow
def test_each_likelihood_wins_on_its_own_data(scores):
    """Else a likelihood is not what it is called. Nats a cell, of about 150.

    The cells are the same for all models, so that a gain has the error of a mean of differences.
    """

    def gain(truth, other):
        return (scores[truth, other] - scores[truth, truth]).mean()

    def error(truth, other):
        return (scores[truth, other] - scores[truth, truth]).std() / math.sqrt(120)

    assert gain("poisson", "nb") > -0.5  # the Poisson distribution is one of theirs too
    assert gain("poisson", "zinb") > -0.5
    assert gain("nb", "zinb") > -1
    assert gain("nb", "poisson") > 20
    assert gain("zinb", "poisson") > 20
    assert gain("zinb", "nb") > 5 * error("zinb", "nb")


# ---------------------------------------------------------------- mean and variance


def test_mean_and_variance_are_those_of_the_likelihood():
    """Else the width of an LFC would be that of another distribution. Oracle: scipy's moments."""
    mu, theta, lost = np.array([[0.3, 7.0]]), np.array([0.8, 3.0]), np.array([[0.3, 0.6]])
    log_mu, log_theta = torch.from_numpy(mu).log(), torch.from_numpy(theta).log()
    logits = torch.from_numpy(np.log(lost / (1 - lost)))
    mean, variance = scipy.stats.nbinom.stats(theta, theta / (theta + mu), moments="mv")
    second = (1 - lost) * (variance + mean**2)
    expected = {
        "poisson": (mu, mu),
        "nb": (mean, variance),
        "zinb": ((1 - lost) * mean, second - ((1 - lost) * mean) ** 2),
    }
    assert expected.keys() == LIKELIHOODS.keys()
    for name, right in expected.items():
        has_theta, has_dropout = LIKELIHOODS[name][-2:]
        given = log_theta if has_theta else None, logits if has_dropout else None
        got = LIKELIHOODS[name].mean_and_variance(GenerativeOutput(log_mu, log_mu, *given))
        for value, wanted in zip(got, right, strict=True):
            np.testing.assert_allclose(value.numpy(), wanted, rtol=1e-6)
