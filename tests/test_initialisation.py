"""Where a module starts: the shares of the genes, and θ by moments."""

import numpy as np
import pytest
import torch
from scipy import sparse, stats

from nbvae import NBVAE
from nbvae.data.sums import GeneSums
from nbvae.module import initialisation
from nbvae.module.initialisation import HIGHEST, LOWEST


def theta_by_moments(counts):
    return initialisation.theta_by_moments(GeneSums.of(counts))


def shares(counts):
    return initialisation.shares(GeneSums.of(counts))


def drawn(theta, n_cells=200_000, seed=0):
    """Negative-binomial counts of genes with equal shares, by scipy, beside one steady gene."""
    rng = np.random.default_rng(seed)
    library = rng.lognormal(np.log(1000), 0.5, n_cells)[:, None]
    mean = np.full(len(theta), 1e-3) * library
    x = stats.nbinom.rvs(theta, theta / (theta + mean), random_state=rng)
    rest = np.maximum(library.round() - x.sum(1, keepdims=True), 1)
    return sparse.csr_matrix(np.hstack([x, rest]).astype(np.float32))


def test_theta_of_simulated_genes_is_found():
    """Else training would start at another model than the one it names."""
    theta = np.array([1.3, 2.0, 4.0, 7.0])
    found = theta_by_moments(drawn(theta))[:4]
    np.testing.assert_allclose(found, theta, rtol=0.1)


def test_theta_solves_the_equation_of_moments(small):
    """Else the formula for sparse counts is not the one it was derived from."""
    between = drawn(np.array([1.3, 2.0, 4.0, 7.0]), n_cells=2000)
    for counts in (small.X, between):
        x = counts.toarray().astype(float)
        mean = x.sum(axis=1, keepdims=True) * x.sum(axis=0) / x.sum()
        theta = theta_by_moments(counts)
        inside = (theta > LOWEST) & (theta < HIGHEST)
        left, right = ((x - mean) ** 2).sum(axis=0), (mean + mean**2 / theta).sum(axis=0)
        np.testing.assert_allclose(left[inside], right[inside], rtol=1e-6)
        assert (left >= right * (1 - 1e-9))[theta == LOWEST].all()
        assert (left <= right * (1 + 1e-9))[theta == HIGHEST].all()
    assert inside.any()  # of those drawn; of a few cells all can be at an end


def test_a_marker_gets_the_lowest_theta_and_steady_counts_the_highest():
    """Else differences between kinds of cells, or chance, would decide where θ starts."""
    rng = np.random.default_rng(0)
    steady = rng.poisson(5, (4000, 1))
    marker = rng.poisson(np.where(np.arange(4000) % 20 == 0, 20, 0.01))[:, None]
    never = np.zeros((4000, 1))
    ballast = rng.poisson(500, (4000, 1))
    found = theta_by_moments(sparse.csr_matrix(np.hstack([steady, marker, never, ballast])))
    assert found[1] == LOWEST and found[2] == HIGHEST
    assert found[0] > 9


@pytest.mark.parametrize("x", [[[3]], [[1], [7]], [[0, 5]], [[2**24 - 1, 1], [1, 0]]])
def test_the_smallest_and_the_largest_counts_give_a_start(x):
    """Else one cell, one gene or a huge count would start training at NaN."""
    counts = sparse.csr_matrix(np.array(x, dtype=np.float32))
    theta = theta_by_moments(counts)
    assert ((theta >= LOWEST) & (theta <= HIGHEST)).all()
    assert np.isfinite(np.log(shares(counts))).all()
    assert shares(counts).sum() == pytest.approx(1)


def test_a_module_for_counts_starts_there(small):
    """Else training would spend its first epochs on what can be counted."""
    module = NBVAE.for_counts(small, n_latent=2)
    started = module.decoder.layers[-1].bias.exp().detach().numpy()
    expected = (small.X.sum(axis=0).A1 + 0.5) / (small.X.sum() + 0.5 * small.n_vars)
    np.testing.assert_allclose(started, expected, rtol=1e-5)
    np.testing.assert_allclose(
        module.log_theta.exp().detach().numpy(), theta_by_moments(small.X), rtol=1e-5
    )
    assert module.n_latent == 2
    assert NBVAE.for_counts(small, likelihood="poisson").log_theta is None


# ---------------------------------------------------------------- a seed


def test_a_seed_covers_all_weights_and_leaves_the_callers_random_numbers(small):
    """Else two runs of the same script would train two models, or a seed would change the rest."""
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = NBVAE.for_counts(small, 2, seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = (NBVAE.for_counts(small, 2, seed=seed) for seed in (np.int64(0), 1))
    weights = one.state_dict()
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in weights.items())
    assert not torch.equal(
        one.mean_encoder.input_layer.weight, other.mean_encoder.input_layer.weight
    )


def test_without_a_seed_the_callers_random_numbers_go_on(small):
    """Else `torch.manual_seed` would have no effect, and two modules in a row would be equal."""
    torch.manual_seed(0)
    modules = [NBVAE.for_counts(small, 2) for _ in range(2)]
    seeded = NBVAE.for_counts(small, 2, seed=0)
    first, second, third = (m.mean_encoder.input_layer.weight for m in (*modules, seeded))
    assert torch.equal(first, third)
    assert not torch.equal(first, second)


def test_the_largest_seed_is_taken_and_is_one_of_its_own(small):
    """Else the message would promise a seed that is refused."""
    weights = [
        NBVAE.for_counts(small, 2, seed=seed).mean_encoder.input_layer.weight
        for seed in (2**63 - 1, 2**63 - 2)
    ]
    assert not torch.equal(*weights)
    with pytest.raises(ValueError, match="at most 9223372036854775807, not 9223372036854775808"):
        NBVAE.for_counts(small, 2, seed=2**63)


@pytest.mark.parametrize("wrong", [-1, 2**63, 1.0, "0", True])
def test_a_seed_that_pytorch_does_not_take_is_named(small, wrong):
    """Else the message would be about an overflow in C++."""
    with pytest.raises((TypeError, ValueError), match="seed must be a whole number"):
        NBVAE.for_counts(small, 2, seed=wrong)
