"""The negative binomial against mpmath (50 digits), scipy, PyTorch and finite differences.

Parameters are rounded when they are stored, so each oracle starts from the rounded log-parameters
that the function saw; otherwise the test would measure the rounding and not the function.
"""

import math

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch
from exact import each_exactly, exact_nb

from nbvae.module import distributions
from nbvae.module.distributions import nb_log_prob, nb_sample

MEANS = [1e-8, 1e-4, 0.01, 0.7, 1.0, 30.0, 1e3, 1e6]
THETAS = [1e-4, 0.01, 0.5, 1.0, 10.0, 1e3, 1e6, 1e8]
COUNTS = [0, 1, 2, 7, 15, 16, 17, 100, 10_000, 1_000_000]


def grid(dtype, means=MEANS, thetas=THETAS, counts=COUNTS):
    """All combinations, and for each mean the counts near it, as (x, log μ, log θ)."""
    points = []
    for mean in means:
        for theta in thetas:
            sd = math.sqrt(mean + mean**2 / theta)
            near = {round(mean), round(mean + sd), max(0, round(mean - sd))}
            points += [(x, mean, theta) for x in sorted({*counts, *near}) if x <= 1e6]
    x, mean, theta = torch.tensor(points, dtype=torch.float64).T
    return x.to(dtype), mean.log().to(dtype), theta.log().to(dtype)


def expectation_of_log_prob(log_mean, true_mean, theta):
    """E log NB(x; μ, θ) over counts x of another mean, summed over all that matter."""
    x = torch.arange(200.0, dtype=torch.float64)
    p = scipy.stats.nbinom.pmf(x.numpy(), theta, theta / (theta + true_mean))
    log_prob = nb_log_prob(x, log_mean, torch.tensor(theta, dtype=torch.float64).log())
    return (torch.from_numpy(p) * log_prob).sum()


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_log_prob_equals_the_exact_value(dtype, tolerance):
    """Else a term is wrong, or digits are lost for some mean, θ or count."""
    points = grid(dtype)
    expected = each_exactly(exact_nb, *points)
    result = nb_log_prob(*points)
    assert result.dtype == dtype
    np.testing.assert_allclose(result.double().numpy(), expected, rtol=tolerance, atol=0)


def test_log_prob_far_outside_the_usual_range():
    """Else a switch in the code is wrong at values of x/μ that no common cell reaches."""
    points = torch.tensor(
        [[1e4, 1e-14, 1e-14], [1e6, 1e-20, 1e-15], [1.0, 1e-30, 1e-20], [5.0, 1e-40, 1e4]],
        dtype=torch.float64,
    )
    x, log_mean, log_theta = points[:, 0], points[:, 1].log(), points[:, 2].log()
    np.testing.assert_allclose(
        nb_log_prob(x, log_mean, log_theta).numpy(),
        each_exactly(exact_nb, x, log_mean, log_theta),
        rtol=1e-10,
    )


def test_log_prob_equals_scipy():
    """Else the parameters mean something else than scipy's n = θ, p = θ/(θ + μ)."""
    x, log_mean, log_theta = grid(torch.float64, [0.01, 1.0, 30.0], [0.5, 1.0, 10.0], [0, 1, 5, 90])
    mean, theta = log_mean.exp().numpy(), log_theta.exp().numpy()
    expected = scipy.stats.nbinom.logpmf(x.numpy(), theta, theta / (theta + mean))
    np.testing.assert_allclose(nb_log_prob(x, log_mean, log_theta).numpy(), expected, rtol=1e-10)


def test_log_prob_equals_pytorch():
    """Else the distribution is not the one that the draft scores with."""
    x, log_mean, log_theta = grid(torch.float64, [0.01, 1.0, 30.0], [0.5, 1.0, 10.0], [0, 1, 5, 90])
    theirs = torch.distributions.NegativeBinomial(log_theta.exp(), logits=log_mean - log_theta)
    torch.testing.assert_close(
        nb_log_prob(x, log_mean, log_theta), theirs.log_prob(x), rtol=1e-10, atol=0
    )


def test_large_theta_is_the_poisson_distribution():
    """Else the limit θ → ∞ would drown in rounding, as in the textbook formula."""
    mean = np.array([[0.01], [1.0], [30.0], [1e3]])
    x = np.array([0.0, 1.0, 5.0, 30.0, 1000.0])
    result = nb_log_prob(
        torch.from_numpy(x), torch.from_numpy(mean).log(), torch.tensor(1e12).double().log()
    )
    np.testing.assert_allclose(result.numpy(), scipy.stats.poisson.logpmf(x, mean), rtol=1e-6)


@pytest.mark.parametrize(
    ("mean", "theta", "enough"), [(0.3, 0.2, 200), (5.0, 2.0, 400), (5.0, 1e8, 100)]
)
def test_probabilities_sum_to_one(mean, theta, enough):
    """Else it is no distribution: a factor is missing or one count is weighted wrongly."""
    x = torch.arange(enough, dtype=torch.float64)
    log_mean, log_theta = torch.tensor([mean, theta], dtype=torch.float64).log()
    assert nb_log_prob(x, log_mean, log_theta).exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_the_true_mean_of_a_rare_gene_scores_best():
    """Else a constant such as 1e-4 has been added to a mean, which shifts every rare gene."""
    log_mean = torch.tensor(1e-4, dtype=torch.float64).log().requires_grad_()
    expected = expectation_of_log_prob(log_mean, true_mean=1e-4, theta=2.0)
    (slope,) = torch.autograd.grad(expected, log_mean)
    assert abs(slope.item()) < 1e-12  # d/d log μ is (x̄ − μ)/(1 + μ/θ), about 1e-4 where it is wrong
    for factor in (0.9, 1.1):
        moved = expectation_of_log_prob(log_mean.detach() + math.log(factor), 1e-4, 2.0)
        assert moved < expected


def stirling_remainder(a):
    definition = (a - mpmath.mpf(1) / 2) * mpmath.log(a) - a + mpmath.log(2 * mpmath.pi) / 2
    return mpmath.loggamma(a) - definition


def digamma_remainder(a):
    return mpmath.digamma(a) - mpmath.log(a)


# the first term that each series leaves out is that small at 16
@pytest.mark.parametrize(
    ("exactly", "tolerance"), [(stirling_remainder, 5e-14), (digamma_remainder, 3e-13)]
)
def test_remainders_equal_the_exact_values(exactly, tolerance):
    """Else a coefficient of a series is wrong, or the definition below the switch."""
    ours = getattr(distributions, exactly.__name__)
    large = torch.tensor([16.01, 17, 20, 100, 1e4, 1e8], dtype=torch.float64)
    np.testing.assert_allclose(ours(large).numpy(), each_exactly(exactly, large), rtol=tolerance)
    # below the switch numbers of up to 30 are subtracted: 1e-14 is float64's limit there
    small = torch.tensor([1e-6, 0.1, 1, 3, 15.99, 16], dtype=torch.float64)
    np.testing.assert_allclose(
        ours(small).numpy(), each_exactly(exactly, small), rtol=1e-13, atol=1e-14
    )


def test_digamma_rise_equals_the_exact_value():
    """Else the slope in θ is wrong, or it drowns in rounding where θ is large."""
    theta = torch.tensor([1e-6, 0.1, 1, 15.99, 16, 16.01, 100, 1e4, 1e8], dtype=torch.float64)
    for x in (1.0, 7.0, 16.0, 1e6):
        counts = torch.full_like(theta, x)
        expected = each_exactly(
            lambda x, t: mpmath.digamma(x + t) - mpmath.digamma(t), counts, theta
        )
        result = distributions.digamma_rise(counts, theta).numpy()
        np.testing.assert_allclose(result, expected, rtol=1e-12)


# ---------------------------------------------------------------- the edges


def test_a_mean_of_zero_puts_all_mass_on_zero():
    """Else an empty cell, whose log-library is −inf, would make the loss NaN."""
    log_mean, log_theta = torch.tensor(-math.inf), torch.tensor([-9.0, 0.0, 9.0])
    torch.testing.assert_close(
        nb_log_prob(torch.zeros(3), log_mean, log_theta), torch.zeros(3), rtol=0, atol=0
    )
    impossible = nb_log_prob(torch.tensor([1.0, 5.0, 1e4]), log_mean, log_theta)
    assert (impossible == -math.inf).all()


def test_a_mean_of_zero_has_finite_gradients():
    """Else one empty cell would turn every weight into NaN."""
    log_mean = torch.full((2,), -math.inf, requires_grad=True)
    log_theta = torch.zeros(2, requires_grad=True)
    nb_log_prob(torch.zeros(2), log_mean, log_theta).sum().backward()
    torch.testing.assert_close(log_mean.grad, torch.zeros(2), rtol=0, atol=0)
    torch.testing.assert_close(log_theta.grad, torch.zeros(2), rtol=0, atol=0)


@pytest.mark.parametrize("log_mean", [-100.0, -1000.0])
def test_a_count_where_almost_none_is_expected_stays_finite(log_mean):
    """Else a mean that underflows in float32 would make an unlucky count infinitely bad."""
    m = torch.tensor(log_mean, requires_grad=True)
    result = nb_log_prob(torch.tensor(1.0), m, torch.tensor(0.0))
    result.backward()
    assert result.item() == pytest.approx(log_mean, rel=1e-6)  # log(μ / (1 + μ)²)
    assert m.grad.item() == pytest.approx(1, rel=1e-6)


def test_arguments_broadcast():
    """Else one θ a gene could not be used for all cells."""
    x = torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, 7.0]])
    log_mean, log_theta = torch.randn(2, 1), torch.randn(3)
    result = nb_log_prob(x, log_mean, log_theta)
    assert result.shape == (2, 3)
    for cell in range(2):
        for gene in range(3):
            alone = nb_log_prob(x[cell, gene], log_mean[cell, 0], log_theta[gene])
            torch.testing.assert_close(result[cell, gene], alone)


@pytest.mark.parametrize(
    ("counts", "logs", "widest"),
    [
        (torch.float64, torch.float32, torch.float64),
        (torch.float32, torch.float64, torch.float64),
        (torch.int64, torch.float32, torch.float32),
        (torch.uint16, torch.float32, torch.float32),
    ],
)
def test_types_are_promoted_to_the_widest(counts, logs, widest):
    x = torch.tensor([0, 2, 7], dtype=counts)
    log_mean = torch.tensor([0.5, -0.5, 1.0], dtype=logs, requires_grad=True)
    found = nb_log_prob(x, log_mean, torch.tensor(0.25, dtype=logs))
    found.sum().backward()
    mean, theta = log_mean.detach().double().exp().numpy(), math.exp(0.25)
    exact = scipy.stats.nbinom.logpmf([0, 2, 7], theta, theta / (theta + mean))
    assert found.dtype == widest
    assert np.allclose(found.detach().numpy(), exact, rtol=1e-5)
    assert log_mean.grad.dtype == logs
    assert torch.isfinite(log_mean.grad).all()


@pytest.mark.parametrize("count", [0.0, 3.0])
def test_one_count_broadcasts_against_many_parameters(count):
    """Else a scalar count could not be scored under several means."""
    means = torch.randn(4, 1, 5)
    assert nb_log_prob(torch.tensor(count), means, torch.zeros(2, 1)).shape == (4, 2, 5)


def test_no_counts_at_all():
    """Else an empty minibatch or a minibatch of zeros only would fail."""
    assert nb_log_prob(torch.zeros(0, 3), torch.zeros(3), torch.zeros(3)).shape == (0, 3)


# ---------------------------------------------------------------- gradients

# away from x = 0 and over both sides of every switch in the code: θ and x below and above 16,
# x far below and above μ
SMOOTH = grid(torch.float64, [1e-4, 0.7, 30.0, 2e3], [0.01, 1.0, 40.0, 1e4], [0, 1, 7, 16, 50, 900])


def test_gradients_equal_finite_differences():
    """Else the derivative that is written down is not that of the value."""
    x, log_mean, log_theta = SMOOTH
    assert torch.autograd.gradcheck(
        lambda m, t: nb_log_prob(x, m, t),
        (log_mean.clone().requires_grad_(), log_theta.clone().requires_grad_()),
        eps=1e-5,
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-3)])
def test_gradients_equal_the_closed_form(dtype, tolerance):
    """Else training would follow another slope than that of the log-likelihood."""

    def by_log_mean(x, log_mean, log_theta):
        mean, theta = mpmath.exp(log_mean), mpmath.exp(log_theta)
        return (x - mean) * theta / (theta + mean)

    def by_log_theta(x, log_mean, log_theta):
        mean, theta = mpmath.exp(log_mean), mpmath.exp(log_theta)
        digammas = mpmath.digamma(x + theta) - mpmath.digamma(theta)
        shares = (mean - x) / (theta + mean) - mpmath.log(1 + mean / theta)
        return theta * (digammas + shares)

    x, log_mean, log_theta = grid(dtype)
    terms = torch.minimum(log_mean, log_theta).exp()
    log_mean.requires_grad_()
    log_theta.requires_grad_()
    nb_log_prob(x, log_mean, log_theta).sum().backward()
    for gradient, exactly in ((log_mean.grad, by_log_mean), (log_theta.grad, by_log_theta)):
        expected = np.array(each_exactly(exactly, x, log_mean.detach(), log_theta.detach()))
        # where the gradient passes through 0, relative to a thousandth of the terms that cancel
        scale = np.maximum(np.abs(expected), 1e-3 * (1 + x.numpy() + terms.numpy()))
        assert (np.abs(gradient.double().numpy() - expected) / scale).max() < tolerance


def test_gradients_follow_the_upstream_gradient():
    """Else a weighted sum of log-probabilities would be learned with the wrong weights."""
    x, log_mean, log_theta = SMOOTH
    log_mean, log_theta = log_mean.clone().requires_grad_(), log_theta.clone().requires_grad_()
    weights = torch.randn(len(x), dtype=torch.float64)
    result = nb_log_prob(x, log_mean, log_theta)
    alone = torch.autograd.grad(result.sum(), [log_mean, log_theta], retain_graph=True)
    weighted = torch.autograd.grad((weights * result).sum(), [log_mean, log_theta])
    for one, other in zip(alone, weighted, strict=True):
        torch.testing.assert_close(weights * one, other)


def test_gradients_add_up_over_broadcast_axes():
    """Else the θ of a gene would learn from one cell instead of all."""
    x, log_mean = torch.tensor([[0.0, 3.0], [5.0, 0.0], [1.0, 40.0]]).double(), torch.randn(3, 1)
    log_mean = log_mean.double().requires_grad_()
    log_theta = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m, t: nb_log_prob(x, m, t), (log_mean, log_theta))
    nb_log_prob(x, log_mean, log_theta).sum().backward()
    assert log_theta.grad.shape == (2,)


def test_the_gradient_by_the_mean_is_the_same_if_theta_is_given():
    x, log_mean, log_theta = grid(torch.float64)
    log_mean.requires_grad_()
    by_both, _ = torch.autograd.grad(
        nb_log_prob(x, log_mean, log_theta.requires_grad_()).sum(), [log_mean, log_theta]
    )
    given = nb_log_prob(x, log_mean, log_theta.detach())
    (by_mean,) = torch.autograd.grad(given.sum(), log_mean)
    torch.testing.assert_close(by_mean, by_both, rtol=0, atol=0)


def test_gradients_are_finite_everywhere():
    """Else one extreme count or mean would turn every weight into NaN."""
    x, log_mean, log_theta = grid(torch.float32)
    log_mean.requires_grad_()
    log_theta.requires_grad_()
    nb_log_prob(x, log_mean, log_theta).sum().backward()
    assert torch.isfinite(log_mean.grad).all()
    assert torch.isfinite(log_theta.grad).all()


# ---------------------------------------------------------------- sampling

N_DRAWS = 40_000
SAMPLED = [(0.05, 0.3), (2.0, 0.7), (2.0, 1e6), (40.0, 5.0)]


def draw(mean, theta, seed=1):
    log_mean = torch.full((N_DRAWS,), math.log(mean))
    generator = torch.Generator().manual_seed(seed)
    return nb_sample(log_mean, torch.tensor(math.log(theta)), generator=generator)


@pytest.mark.parametrize(("mean", "theta"), SAMPLED)
def test_samples_have_the_right_mean_variance_and_zeros(mean, theta):
    """Else the mixture is not the negative binomial: θ and 1/θ swapped, or a rate for a scale."""
    x = draw(mean, theta).double().numpy()
    scipys = scipy.stats.nbinom(theta, theta / (theta + mean))
    variance, excess = mean + mean**2 / theta, scipys.stats(moments="k")
    share = math.exp(nb_log_prob(*torch.tensor([0, math.log(mean), math.log(theta)])))
    # five standard errors each: once in a million for a right sampler
    assert abs(x.mean() - mean) < 5 * math.sqrt(variance / N_DRAWS)
    assert abs(x.var() - variance) < 5 * variance * math.sqrt((excess + 2) / N_DRAWS)
    assert abs((x == 0).mean() - share) < 5 * math.sqrt(share * (1 - share) / N_DRAWS)


@pytest.mark.parametrize(("mean", "theta"), SAMPLED)
def test_samples_pass_a_chi_square_test(mean, theta):
    """Else the draws have another distribution with the same mean and variance."""
    x = draw(mean, theta).numpy().astype(int)
    scipys = scipy.stats.nbinom(theta, theta / (theta + mean))
    edges = np.unique(scipys.ppf(np.linspace(0.02, 0.98, 25)))  # bins x ≤ e₀, e₀ < x ≤ e₁, …
    expected = np.diff(np.concatenate([[0], scipys.cdf(edges), [1]])) * N_DRAWS
    observed = np.bincount(np.searchsorted(edges, x), minlength=len(edges) + 1)
    assert scipy.stats.chisquare(observed, expected).pvalue > 1e-4


def test_samples_are_counts_in_the_broadcast_shape():
    """Else the draws could not be compared with a count matrix."""
    x = nb_sample(torch.randn(4, 1), torch.randn(3))
    assert x.shape == (4, 3)
    assert ((x >= 0) & (x == x.round())).all()


def test_a_generator_makes_the_draws_reproducible():
    """Else a figure of simulated cells would change from run to run."""
    assert torch.equal(draw(2.0, 0.7, seed=3), draw(2.0, 0.7, seed=3))
    assert not torch.equal(draw(2.0, 0.7, seed=3), draw(2.0, 0.7, seed=4))


def test_a_generator_leaves_the_global_random_numbers_alone():
    """Else drawing cells for a figure would change how training goes on."""
    before = torch.random.get_rng_state()
    draw(2.0, 0.7)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_empty_cell_is_sampled_as_zeros():
    """Else log μ = −inf would give NaN counts."""
    assert torch.equal(nb_sample(torch.full((5,), -math.inf), torch.zeros(5)), torch.zeros(5))


@pytest.mark.parametrize("elsewhere", [False, True])
def test_places_are_counted_through_all_axes(elsewhere):
    """On a device that NumPy can't read, PyTorch looks for them."""

    class Mask(torch.Tensor):
        device = torch.device("cuda" if elsewhere else "cpu")

    mask = torch.tensor([[False, True, False], [True, False, True]]).as_subclass(Mask)
    assert distributions.places(mask).tolist() == [1, 3, 5]
