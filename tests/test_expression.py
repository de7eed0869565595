"""Shares and replicated counts, against models with known answers."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from by_hand import by_hand, shares_at, with_donors

from nbvae import NBVAE, Covariates
from nbvae.expression import (
    denoised,
    gene_correlation,
    likelihood_parameters,
    posterior_predictive,
)
from nbvae.module.evaluating import BATCH_SIZE

# ---------------------------------------------------------------- denoised


def test_denoised_is_the_share_averaged_over_q(two_groups):
    """Else it is the share at the mean of q, which is another one, or of one draw."""
    sd = 1.5
    result = denoised(by_hand(sd), two_groups, n_samples=3000)
    z = np.linspace(-8, 8, 2001)
    for rows, centre in ((slice(0, 30), 1), (slice(30, 60), -1)):
        weights = scipy.stats.norm.pdf(z)
        expected = weights @ shares_at(centre + sd * z) / weights.sum()
        assert abs(expected - shares_at(np.array([centre]))).max() > 0.01
        np.testing.assert_allclose(result[rows].mean(axis=0), expected, atol=2e-3)
        np.testing.assert_allclose(result[rows], np.tile(expected, (30, 1)), atol=0.02)


def test_denoised_has_a_row_a_cell_in_order(sample):
    """Else cells beyond the first minibatch would get other cells' shares."""
    module = NBVAE(765, 2, n_hidden=8)
    with torch.no_grad():
        module.logvar_encoder.layers[2].bias.fill_(-40.0)  # no noise in z
        module.decoder.layers[2].weight.mul_(20)
    result = denoised(module, sample, n_samples=2)
    assert BATCH_SIZE < 700
    assert result.shape == (700, 765)
    np.testing.assert_allclose(result.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(result[600:], denoised(module, sample[600:]), rtol=1e-3)
    assert abs(result[0] - result[-1]).max() > 1e-3


def test_genes_are_chosen_by_name(two_groups):
    """Else a column would hold another gene than its caller thinks."""
    module = by_hand(0.5)
    whole = denoised(module, two_groups)
    np.testing.assert_array_equal(denoised(module, two_groups, genes=["D", "A"]), whole[:, [3, 0]])
    np.testing.assert_array_equal(denoised(module, two_groups, genes="D"), whole[:, [3]])
    with pytest.raises(KeyError, match=r"genes: these genes are not there: 'X', 'd'"):
        denoised(module, two_groups, genes=["A", "X", "d"])


def test_gene_names_that_occur_twice_are_refused(two_groups):
    """Else one of the two would be taken, whichever comes first."""
    two_groups.var_names = list("ABCCE")
    assert denoised(by_hand(0.5), two_groups, genes=["E"]).shape == (60, 1)
    with pytest.raises(ValueError, match=r"'C'.*var_names_make_unique"):
        denoised(by_hand(0.5), two_groups, genes=["A", "C"])


def test_denoised_in_the_cells_own_batch_or_in_all(two_groups):
    """Else cells of two donors could not be compared, or a donor's effect be shown."""
    module = with_donors(two_groups)
    own = denoised(module, two_groups, n_samples=200)
    everywhere = denoised(module, two_groups, covariates="all", n_samples=200)
    p, q = own[0:30:2].mean(axis=0), own[1:30:2].mean(axis=0)
    odds = (q[4] / (1 - q[4])) / (p[4] / (1 - p[4]))
    assert odds == pytest.approx(20, rel=0.02)
    np.testing.assert_allclose(everywhere[:30], np.tile((p + q) / 2, (30, 1)), atol=0.01)
    np.testing.assert_allclose(everywhere.sum(axis=1), 1, rtol=1e-5)


def test_denoised_as_if_in_a_chosen_batch(two_groups):
    """Else "what would these cells have in donor q?" had no answer, or another donor's."""
    module = with_donors(two_groups)
    own, as_q = (
        denoised(module, two_groups, covariates=way, n_samples=200) for way in ("own", "q")
    )
    np.testing.assert_allclose(as_q[1::2], own[1::2], rtol=1e-6)
    np.testing.assert_allclose(as_q[0:30:2].mean(axis=0), own[1:30:2].mean(axis=0), atol=0.01)
    with pytest.raises(ValueError, match=r"'r'. Use one of 'own', 'all', 'p', 'q'"):
        denoised(module, two_groups, covariates="r")


def test_denoised_without_batches_may_be_asked_for_all(two_groups):
    """Else code for data with batches would fail on data without."""
    module = by_hand(0.5)
    np.testing.assert_array_equal(
        denoised(module, two_groups, covariates="all"), denoised(module, two_groups)
    )
    with pytest.raises(ValueError, match=r"Unknown covariates 'p'. Use one of 'own', 'all'"):
        denoised(module, two_groups, covariates="p")


def told_module(told):
    """A module of two categories and a number that it heeds, without noise in z."""
    module = NBVAE.for_counts(told, 2, covariates=["run", "percent_mito", "group"], seed=0)
    with torch.no_grad():
        module.decoder.layers[0].weight.mul_(5)
        module.logvar_encoder.layers[2].bias.fill_(-40.0)
    return module


def decoded(module, told, **changes):
    """The shares with some of the cells' own columns changed in the table itself."""
    other = told.copy()
    for key, value in changes.items():
        other.obs[key] = value
    z = module.inference(
        torch.from_numpy(told.X.toarray()),
        covariates=torch.from_numpy(module.covariates.design(told)),
    ).qz_mean
    design = torch.from_numpy(module.covariates.design(other))
    return module.generative(z, torch.ones(53, 1), covariates=design).px_scale.detach().numpy()


@pytest.mark.parametrize(
    "changes",
    [{}, {"run": "old"}, {"percent_mito": 9.5}, {"group": "c", "percent_mito": 3.0}],
    ids=str,
)
def test_denoised_as_if_changes_what_it_names(told, changes):
    """Else "what would these cells have from donor d1?" would change their run, too."""
    module = told_module(told)
    ours = denoised(module, told, covariates=changes, n_samples=1)
    np.testing.assert_allclose(ours, decoded(module, told, **changes), rtol=1e-4)
    own = denoised(module, told, n_samples=1)
    assert (abs(ours / own - 1).max() > 0.1) == bool(changes)


def test_denoised_in_all_is_each_combination_at_the_mean_of_numbers(told):
    """Else cells of two runs, or of two percentages, could not be compared."""
    module = told_module(told)
    mean = told.obs["percent_mito"].mean()
    expected = [
        decoded(module, told, run=run, group=group, percent_mito=mean)
        for run in ("new", "old")
        for group in "abc"
    ]
    ours = denoised(module, told, covariates="all", n_samples=1)
    np.testing.assert_allclose(ours, np.mean(expected, axis=0), rtol=1e-4)
    expected = [decoded(module, told, run=run) for run in ("new", "old")]
    ours = denoised(module, told, covariates={"run": "all"}, n_samples=1)
    np.testing.assert_allclose(ours, np.mean(expected, axis=0), rtol=1e-4)


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ({"run": "newest"}, "'newest' is none of the levels of 'run': 'new', 'old'"),
        ({"donor": "d1"}, "no covariate 'donor', only 'run', 'percent_mito', 'group'"),
        ({"percent_mito": "all"}, "'percent_mito' is continuous"),
        ("old", "Unknown covariates 'old'. Use one of 'own', 'all'"),
        (3, "not 3"),
    ],
    ids=str,
)
def test_decoding_as_what_is_not_there(told, way, words):
    with pytest.raises((TypeError, ValueError), match=words):
        denoised(told_module(told), told, covariates=way)


def test_decoding_as_needs_covariates(two_groups):
    with pytest.raises(ValueError, match="built without covariates"):
        denoised(by_hand(0.5), two_groups, covariates={"donor": "p"})


def test_too_many_combinations_are_refused(small):
    """Else a cell would be decoded thousands of times, for hours, without a word."""
    for key in ("donor", "plate"):
        small.obs[key] = [f"{key}-{i % 11}" for i in range(53)]
    module = NBVAE(12, 2, covariates=Covariates.of(small, "donor", "plate"))
    with pytest.raises(ValueError, match=r"121 combinations of levels of 'donor', 'plate'"):
        denoised(module, small, covariates="all")
    assert denoised(module, small, covariates={"donor": "all"}, n_samples=1).shape == (53, 12)


# ---------------------------------------------------------------- posterior predictive


@pytest.mark.parametrize("likelihood", ["nb", "poisson", "zinb"])
def test_replicates_have_the_moments_of_the_likelihood(two_groups, likelihood):
    """Else they are means for draws, another library's, or of the wrong distribution."""
    module, theta, n_samples = by_hand(1e-9, likelihood=likelihood), 0.8, 1000
    kept = 1.0
    with torch.no_grad():
        if module.log_theta is not None:
            module.log_theta.fill_(math.log(theta))
        if module.dropout_decoder is not None:
            module.dropout_decoder.layers[2].bias.fill_(math.log(0.3 / 0.7))
            kept = 0.7
    two_groups.X[:30, 2] = 21  # libraries of 31 and 17, at the same place in latent space
    draws = posterior_predictive(module, two_groups, n_samples=n_samples)
    assert draws.shape == (n_samples, 60, 5)
    assert (draws == draws.round()).all()
    for rows, centre, library in ((slice(0, 30), 1, 31), (slice(30, 60), -1, 17)):
        mean = library * shares_at(np.array(centre))
        # scipy's n = θ, p = θ/(θ + μ); the Poisson distribution is the limit
        size = 1e9 if likelihood == "poisson" else theta
        first, second = scipy.stats.nbinom.stats(size, size / (size + mean), moments="mv")
        expected = kept * first
        variance = kept * (second + first**2) - expected**2
        n = 30 * n_samples
        drawn = draws[:, rows].astype(float)
        error = abs(drawn.mean(axis=(0, 1)) - expected) / np.sqrt(variance / n)
        assert error.max() < 5
        np.testing.assert_allclose(drawn.var(axis=(0, 1)), variance, rtol=0.08)


def test_replicates_include_the_spread_of_z(two_groups):
    """Else they would be too alike: the posterior, not only the counts, is uncertain."""
    narrow, wide = (
        posterior_predictive(by_hand(sd), two_groups, n_samples=300)[:, :30, 3].var()
        for sd in (1e-9, 2.0)
    )
    assert wide > 1.3 * narrow


def test_replicates_of_a_batch_are_drawn_in_that_batch(two_groups):
    """Else each cell would be drawn as one of the first donor."""
    draws = posterior_predictive(with_donors(two_groups), two_groups, n_samples=50)
    assert draws[:, 1::2, 4].mean() > 5 * draws[:, 0::2, 4].mean()


def test_replicates_keep_the_order_across_minibatches(sample):
    """Else the replicate of a cell would be that of another."""
    module = NBVAE(765, 2, n_hidden=8, likelihood="poisson")
    draws = posterior_predictive(module, sample)
    totals = sample.X.sum(axis=1).A1
    assert np.corrcoef(draws[0].sum(axis=1), totals)[0, 1] > 0.95


def test_results_follow_from_the_seed(two_groups):
    """Else a stored table would change from run to run."""
    module, state = by_hand(0.7), torch.random.get_rng_state()

    def everything(seed):
        replicates = posterior_predictive(module, two_groups, seed=seed)
        return [replicates, denoised(module, two_groups, n_samples=1, seed=seed)]

    for first, again, other in zip(everything(1), everything(1), everything(2), strict=True):
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert module.training


def test_no_draws_are_refused(two_groups):
    """Else a mean over nothing would be NaN."""
    module = by_hand(1.0)
    for ask in (
        lambda: denoised(module, two_groups, n_samples=0),
        lambda: posterior_predictive(module, two_groups, n_samples=0),
    ):
        with pytest.raises(
            ValueError, match="n_samples must be a whole number of at least 1, not 0"
        ):
            ask()


# ---------------------------------------------------------------- parameters, correlation


@pytest.mark.parametrize("likelihood", ["nb", "poisson", "zinb"])
def test_parameters_give_the_log_probability_of_the_counts(two_groups, likelihood):
    """Else θ would be 1/θ, π its logit, or a column another gene's. scipy; genes shuffled."""
    module = NBVAE.for_counts(two_groups, 1, n_hidden=3, likelihood=likelihood, seed=0)
    x, order = torch.from_numpy(two_groups.X), [4, 2, 0, 3, 1]
    with torch.no_grad():
        q = module.inference(x)
        p = module.generative(q.qz_mean, x.sum(dim=1, keepdim=True))
        expected = module.likelihood.log_prob(x, p).numpy()[10:20][:, order]
    shuffled = two_groups[:, order].copy()
    got = likelihood_parameters(module, shuffled, indices=range(10, 20))
    counts = shuffled.X[10:20]
    if got.theta is None:
        log_prob = scipy.stats.poisson.logpmf(counts, got.mean)
    else:
        log_prob = scipy.stats.nbinom.logpmf(counts, got.theta, got.theta / (got.theta + got.mean))
    if got.dropout is not None:
        log_prob = np.log(got.dropout * (counts == 0) + (1 - got.dropout) * np.exp(log_prob))
    assert (got.theta is None, got.dropout is None) == (
        likelihood == "poisson",
        likelihood != "zinb",
    )
    np.testing.assert_allclose(log_prob, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("library", [None, 40.0])
def test_correlation_is_that_of_what_the_module_draws(two_groups, library):
    """Else a term of the variance would be missing. Against two million draws by numpy."""
    sd, theta, n = 0.6, 3.0, 2_000_000
    module = by_hand(sd)
    with torch.no_grad():
        module.log_theta.fill_(math.log(theta))
    rng = np.random.default_rng(0)
    z = rng.choice([1.0, -1.0], size=n) + sd * rng.normal(size=n)
    draws = rng.gamma(theta, shares_at(z)[:, [3, 2, 0]] / theta)
    if library is not None:
        draws = rng.poisson(library * draws)
    expected = np.corrcoef(draws, rowvar=False)
    found = gene_correlation(module, two_groups, ["D", "C", "A"], library=library, n_samples=2000)
    assert list(found.index) == list(found.columns) == ["D", "C", "A"]
    np.testing.assert_allclose(found.to_numpy(), expected, atol=0.006)
    assert abs(expected[0, 1]) > 0.05


def test_correlation_of_the_poisson_distribution_is_that_of_the_shares(sample):
    """Else a θ that is not there would be asked for, or cells of one minibatch would decide."""
    module = NBVAE.for_counts(sample, 2, likelihood="poisson", seed=0)
    with torch.no_grad():
        module.logvar_encoder.layers[2].bias.fill_(-40.0)  # no noise in z
    genes = list(sample.var_names[[5, 300, 700]])
    shares = denoised(module, sample, genes=genes, n_samples=1).astype(float)
    found = gene_correlation(module, sample, genes, n_samples=1)
    np.testing.assert_allclose(found, np.corrcoef(shares, rowvar=False), atol=1e-3)


def test_correlation_asks_for_what_is_there(two_groups):
    with pytest.raises(ValueError, match="library must be above 0, not 0"):
        gene_correlation(by_hand(0.5), two_groups, ["A", "B"], library=0)
    with pytest.raises(KeyError, match="'X'"):
        gene_correlation(by_hand(0.5), two_groups, ["A", "X"])
    with pytest.raises(ValueError, match="Unknown covariates"):
        gene_correlation(by_hand(0.5), two_groups, ["A"], covariates="p")
