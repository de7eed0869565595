"""θ per gene and batch: each cell gets that of its batch, wherever θ is used."""

import numpy as np
import pytest
import scipy.stats
import torch
from anndata import AnnData
from by_hand import by_hand, shares_at
from scipy import sparse

from nbvae import NBVAE, CellTable, Covariates, Trainer, evaluation, loss_of, with_new_levels
from nbvae.expression import (
    denoised,
    differential_expression,
    gene_correlation,
    likelihood_parameters,
    posterior_predictive,
)
from nbvae.module.fast import has_shortcut
from nbvae.module.static import static_loss

SETTINGS = {"max_epochs": 3, "device": "cpu", "progress": False}
COLUMNS = ["percent_mito", "run", "group"]  # the batch is the first category, not the first column


def built(told, columns=COLUMNS, **arguments):
    """A module whose batches differ in θ, tenfold and in each gene by a factor of its own."""
    module = NBVAE.for_counts(
        told, 2, n_hidden=16, covariates=columns, dispersion="gene-batch", seed=0, **arguments
    )
    with torch.no_grad():
        module.log_theta += torch.randn_like(module.log_theta)
        module.log_theta[:, 1] += 2
    return module


def theta_by_numpy(module, told):
    """(N, G): column "old" for the cells of the old run."""
    by_level = module.log_theta.detach().exp().numpy().T
    return by_level[(told.obs["run"] == "old").to_numpy().astype(int)]


@pytest.mark.parametrize("likelihood", ["nb", "zinb"])
def test_the_loss_is_scipys_with_each_batchs_theta(told, likelihood):
    """Else θ would be another batch's, or a column of another covariate. Float64."""
    module = built(told, likelihood=likelihood).double()
    x = torch.from_numpy(told.X.toarray()).double()
    design = torch.from_numpy(module.covariates.design(told)).double()
    with torch.no_grad():
        q = module.inference(x, covariates=design)
        p = module.generative(q.z, x.sum(dim=1, keepdim=True), covariates=design)
        found = module.loss(x, q, p).reconstruction.numpy()
    theta, mean = theta_by_numpy(module, told), p.px_mean.numpy()
    np.testing.assert_allclose(p.theta.numpy(), theta, rtol=1e-12)
    prob = scipy.stats.nbinom.pmf(x.numpy(), theta, theta / (theta + mean))
    if p.dropout_logits is not None:
        lost = scipy.special.expit(p.dropout_logits.numpy())
        prob = lost * (x.numpy() == 0) + (1 - lost) * prob
    np.testing.assert_allclose(found, -np.log(prob).sum(axis=1), rtol=1e-9)


def test_all_ways_to_the_loss_agree(told):
    """The shortcut knows one θ per gene, and must step aside; so must its form for a GPU."""
    module, noise = built(told), torch.randn(53, 2)
    assert not has_shortcut(module)
    [m] = CellTable.of(told, module).minibatches(np.arange(53), 64)
    plain = module(m.x, covariates=m.covariates, noise=noise)
    torch.testing.assert_close(loss_of(module, m, noise=noise), plain)
    torch.testing.assert_close(
        static_loss(module, m.x, covariates=m.covariates, noise=noise), plain
    )


def test_batches_start_alike(told):
    """Else a module would differ from one with a single θ before it has seen why."""
    arguments = {"covariates": COLUMNS, "seed": 0, "n_latent": 2}
    one = NBVAE.for_counts(told, **arguments)
    each = NBVAE.for_counts(told, dispersion="gene-batch", **arguments)
    assert each.log_theta.shape == (12, 2)
    torch.testing.assert_close(each.log_theta, one.log_theta[:, None].expand(12, 2))


@pytest.mark.slow
def test_training_finds_each_batchs_theta(seed):
    """Counts of one kind of cells, θ of 0.5 in one batch and of 5 in the other."""
    rng, n = np.random.default_rng(seed), 1500
    theta = np.where(np.arange(2 * n)[:, None] < n, 0.5, 5.0)
    mean = rng.uniform(3, 20, 30)
    counts = rng.poisson(mean * rng.gamma(theta, 1 / theta, (2 * n, 30)))
    adata = AnnData(sparse.csr_matrix(counts.astype(np.float32)))
    adata.obs["run"] = np.repeat(["a", "b"], n)
    adata.obs["size"] = 1.0  # totals would tie the genes together
    module = NBVAE.for_counts(
        adata, 1, covariates="run", dispersion="gene-batch", size_factor_key="size", seed=0
    )
    Trainer(max_epochs=50, device="cpu", progress=False).fit(module, adata)
    found = module.log_theta.detach().exp().numpy()
    np.testing.assert_allclose(np.median(found, axis=0), [0.5, 5.0], rtol=0.15)


def test_parameters_and_replicates_have_each_cells_theta(told):
    module = built(told)
    order = np.random.default_rng(0).permutation(12)
    found = likelihood_parameters(module, told[:, order].copy(), indices=range(10, 30)).theta
    np.testing.assert_allclose(found, theta_by_numpy(module, told)[10:30][:, order], rtol=1e-5)
    with torch.no_grad():  # the old run hardly scatters, the new one does
        module.log_theta[:, 0], module.log_theta[:, 1] = -2.0, 12.0
        module.logvar_encoder.layers[-1].bias.fill_(-40.0)  # no noise in z
    draws = posterior_predictive(module, told, n_samples=400).astype(float)
    old = (told.obs["run"] == "old").to_numpy()
    by_mean = draws.var(axis=0).sum(axis=1) / draws.mean(axis=0).sum(axis=1)
    assert by_mean[old].max() < 1.5 < 3 < by_mean[~old].min()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["own", "p", "all"])
def test_correlation_has_the_theta_of_what_is_decoded(two_groups, way):
    """Else as if in p, genes would scatter as in q. Against draws by numpy."""
    two_groups.obs["donor"] = ["p", "q"] * 30
    sd, theta = 0.6, np.array([0.5, 4.0])
    covariates = Covariates.of(two_groups, "donor")
    module = by_hand(sd, covariates=covariates, dispersion="gene-batch")
    with torch.no_grad():
        module.log_theta[:] = torch.from_numpy(np.log(theta))
    rng, n = np.random.default_rng(0), 2_000_000
    z = np.repeat([1.0, -1.0], n // 2) + sd * rng.normal(size=n)
    by_theta = {"own": 1 / theta[np.arange(n) % 2], "p": 1 / theta[[0]], "all": (1 / theta).mean()}
    share = shares_at(z)[:, [3, 2, 0]]
    shape = (1 / by_theta[way]).reshape(-1, 1)
    expected = np.corrcoef(rng.gamma(shape, share / shape, share.shape), rowvar=False)
    found = gene_correlation(
        module, two_groups, ["D", "C", "A"], covariates=way, n_samples=2000
    ).to_numpy()
    np.testing.assert_allclose(found, expected, atol=0.006)


def test_expression_needs_no_theta(told):
    """ρ is what it was; differential expression takes each batch's scatter for its error."""
    module = built(told, COLUMNS[:2])
    one = NBVAE.for_counts(told, 2, n_hidden=16, covariates=COLUMNS[:2], seed=0)
    one.load_state_dict({**module.state_dict(), "log_theta": one.log_theta})
    np.testing.assert_array_equal(denoised(module, told), denoised(one, told))
    errors = []
    for log_theta in (-3.0, 6.0):
        with torch.no_grad():
            module.log_theta.fill_(log_theta)
        genes = differential_expression(module, told, "a", "b", groupby="group")
        errors.append(genes["lfc_error"].median())
    assert errors[0] > 1.5 * errors[1]


def test_it_is_kept(told, tmp_path):
    module = built(told)
    module.save(tmp_path / "module.pt")
    again = NBVAE.load(tmp_path / "module.pt")
    assert again.dispersion == "gene-batch"
    assert evaluation.elbo(again, told) == evaluation.elbo(module, told)


@pytest.mark.parametrize("prior", [None, 0.5])
@pytest.mark.parametrize("columns", [["run"], COLUMNS])
def test_a_new_batch_gets_a_theta_of_its_own(told, columns, prior):
    """That of known batches must not move, where θ has a prior neither; it starts at the mean of
    their logarithms.
    """
    module = built(told, columns)
    before = evaluation.elbo(module, told)
    other = told.copy()
    other.obs["run"] = np.where(np.arange(53) % 3, "newest", other.obs["run"])
    extended = with_new_levels(module, other, theta_prior=prior, **SETTINGS)
    assert extended.dispersion == "gene-batch"
    assert torch.equal(extended.log_theta[:, :2], module.log_theta)
    start, end = module.log_theta.mean(dim=1), extended.log_theta[:, 2]
    assert (end != start).all() and (end - start).abs().max() < 1
    assert evaluation.elbo(extended, told) == pytest.approx(before, rel=1e-5)


def test_new_levels_of_another_column_leave_theta_alone(told):
    module, other = built(told), told.copy()
    other.obs["group"] = "d"
    assert torch.equal(with_new_levels(module, other, **SETTINGS).log_theta, module.log_theta)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "needs batches"),
        ({"covariates": ["percent_mito"]}, "needs batches"),
        ({"covariates": ["run"], "likelihood": "poisson"}, "Poisson distribution has no θ"),
        ({"dispersion": "gene-cell"}, "Unknown dispersion 'gene-cell'. Use one of 'gene', 'gene-b"),
    ],
    ids=str,
)
def test_what_has_no_batches_is_refused(told, arguments, words):
    with pytest.raises(ValueError, match=words):
        NBVAE.for_counts(told, **{"dispersion": "gene-batch", **arguments})


def test_the_columns_of_the_batch(told):
    assert Covariates.of(told, "run", "group").batch_columns == slice(0, 2)
    assert Covariates.of(told, "percent_mito", "group").batch_columns == slice(1, 4)
    numbers = Covariates.of(told, "percent_mito")
    assert np.eye(numbers.n_columns)[:, numbers.batch_columns].shape == (1, 0)
