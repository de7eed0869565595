"""The prior over genes and what it makes of each, against integrals on a grid."""

import numpy as np
import pytest
import scipy.stats

from nbvae.differential.prior import WIDTHS, expected_fdr, fitted_weights, posterior


def density_on_grid(weights, estimate, error):
    """Prior times likelihood over a grid of LFC; the width 0 as a last point of its own."""
    lfc = np.linspace(-60, 60, 240_001)
    prior = sum(
        w * scipy.stats.norm.pdf(lfc, 0, s) for w, s in zip(weights[1:], WIDTHS[1:], strict=True)
    )
    mass = prior * scipy.stats.norm.pdf(estimate, lfc, error) * (lfc[1] - lfc[0])
    at_zero = weights[0] * scipy.stats.norm.pdf(estimate, 0, error)
    return np.append(lfc, 0.0), np.append(mass, at_zero) / (mass.sum() + at_zero)


@pytest.mark.parametrize("delta", [0.0, 0.25, 1.0])
@pytest.mark.parametrize(("estimate", "error"), [(1.3, 0.4), (-0.3, 0.5), (0.0, 2.0), (-7.0, 1.0)])
def test_posterior_is_the_integral(estimate, error, delta):
    """Else p and the LFC that a gene is called by are not what prior and estimate say."""
    weights = np.random.default_rng(0).dirichlet(np.ones(len(WIDTHS)))
    known = posterior(np.array([estimate]), np.array([error]), weights, delta)
    lfc, mass = density_on_grid(weights, estimate, error)
    mean = lfc @ mass
    assert known.mean[0] == pytest.approx(mean, abs=1e-4)
    assert known.sd[0] == pytest.approx(np.sqrt((lfc - mean) ** 2 @ mass), rel=1e-3)
    different = np.append(np.ones(len(lfc) - 1, bool), False)  # at the last point nothing is
    assert known.up[0] == pytest.approx(mass[(lfc >= delta) & different].sum(), abs=1e-3)
    assert known.down[0] == pytest.approx(mass[(lfc <= -delta) & different].sum(), abs=1e-3)


def test_many_genes_are_treated_one_by_one():
    """Else a gene's result would depend on where in the table it stands."""
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(len(WIDTHS)))
    estimate, error = rng.normal(0, 2, 9000), rng.uniform(0.1, 1, 9000)
    whole = posterior(estimate, error, weights, 0.25)
    some = posterior(estimate[4000:5000], error[4000:5000], weights, 0.25)
    for all_genes, those in zip(whole, some, strict=True):
        np.testing.assert_allclose(all_genes[4000:5000], those)


def test_the_prior_of_no_differences_has_no_width(seed):
    """Else noise would pass for differences: that is what the prior is for."""
    rng = np.random.default_rng(seed)
    error = rng.uniform(0.05, 2, 3000)
    weights = fitted_weights(rng.normal(0, error), error)
    assert weights.sum() == pytest.approx(1)
    assert weights @ WIDTHS**2 < 0.01


def test_the_prior_has_the_width_of_the_true_differences(seed):
    """Else large differences would be shrunk, or small ones believed."""
    rng = np.random.default_rng(seed)
    error = rng.uniform(0.05, 0.5, 4000)
    true = np.where(rng.random(4000) < 0.3, rng.normal(0, 2, 4000), 0)
    weights = fitted_weights(rng.normal(true, error), error)
    assert weights @ WIDTHS**2 == pytest.approx(0.3 * 4, rel=0.2)
    assert weights[WIDTHS < 0.2].sum() == pytest.approx(0.7, abs=0.07)


def test_the_weights_are_the_most_likely_ones():
    """At the maximum no width explains the genes better than the mixture does (Lindsay 1983)."""
    rng = np.random.default_rng(0)
    error = rng.uniform(0.1, 1, 500)
    estimate = rng.normal(0, 1, 500) + rng.normal(0, error)
    weights = fitted_weights(estimate, error)
    density = scipy.stats.norm.pdf(estimate[:, None], 0, np.sqrt(WIDTHS**2 + error[:, None] ** 2))
    gain = (density / (density @ weights)[:, None]).mean(axis=0)
    assert gain.max() < 1.02


def test_what_is_promised_is_kept_if_the_errors_are_as_said(seed):
    """Else `fdr` would be a number without a meaning: true LFC are known here."""
    rng = np.random.default_rng(seed)
    n, delta = 20_000, 0.25
    error = rng.uniform(0.1, 1.5, n)
    true = np.where(rng.random(n) < 0.4, rng.normal(0, 1.5, n), 0)
    estimate = rng.normal(true, error)
    known = posterior(estimate, error, fitted_weights(estimate, error), delta)
    p = np.maximum(known.up, known.down)
    order = np.argsort(-p)
    false = np.where(known.up > known.down, true < delta, true > -delta)[order]
    for fdr in (0.05, 0.1, 0.2):
        called = expected_fdr(p[order]) <= fdr
        assert called.sum() > 1000
        assert false[called].mean() == pytest.approx(fdr, abs=0.015)


def test_expected_fdr_of_probabilities_by_hand():
    """Else too many genes are called, or too few."""
    np.testing.assert_allclose(
        expected_fdr(np.array([1.0, 0.96, 0.9, 0.5, 0.0])),
        [0, 0.02, 0.14 / 3, 0.64 / 4, 1.64 / 5],
    )
    assert expected_fdr(np.array([])).shape == (0,)
