"""A library that is modelled: its KL, its bounds and all that is decoded, against other ways."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from anndata import AnnData
from scipy import sparse
from torch.distributions import Normal, kl_divergence

from nbvae import (
    NBVAE,
    CellTable,
    ModelledLibrary,
    Trainer,
    evaluation,
    loss_of,
    map_query,
    with_new_levels,
)
from nbvae.expression import (
    denoised,
    differential_expression,
    likelihood_parameters,
    posterior_predictive,
)
from nbvae.module.fast import has_shortcut

SETTINGS = {"max_epochs": 3, "device": "cpu", "progress": False}
COLUMNS = ["percent_mito", "run"]


def built(told, columns=COLUMNS, **arguments):
    return ModelledLibrary.for_counts(told, 2, n_hidden=16, covariates=columns, seed=0, **arguments)


def log_totals_of(told, level):
    some = told.X.toarray()[(told.obs["run"] == level).to_numpy()]
    return np.log(some.sum(axis=1))


def test_the_prior_is_that_of_the_log_totals_of_each_batch(told):
    module = built(told)
    for j, level in enumerate(("new", "old")):
        totals = log_totals_of(told, level)
        assert module.library_log_mean[0, j].item() == pytest.approx(totals.mean(), rel=1e-6)
        assert module.library_log_sd[0, j].item() == pytest.approx(totals.std(), rel=1e-6)
    of_all = built(told, None)
    assert of_all.library_log_sd.item() == pytest.approx(
        np.log(told.X.toarray().sum(axis=1)).std(), rel=1e-6
    )


def test_each_cell_starts_between_the_priors(told):
    """Else q would have to find the totals first, at the speed limit of all weights."""
    totals = [log_totals_of(told, level) for level in ("new", "old")]
    mean, sd = (np.mean([getattr(t, name)() for t in totals]) for name in ("mean", "std"))
    bias = built(told).library_encoder.output_layer.bias.detach()
    np.testing.assert_allclose(bias, [mean, math.log(sd**2)], rtol=1e-5)


@pytest.mark.parametrize("encode_covariates", [False, True])
def test_the_loss_is_that_of_torch_and_scipy(told, encode_covariates):
    """Written out in log ℓ, with PyTorch's KL and scipy's NB. Float64."""
    module = built(told, encode_covariates=encode_covariates).double()
    x = torch.from_numpy(told.X.toarray()).double()
    design = torch.from_numpy(module.covariates.design(told)).double()
    noise = torch.randn(53, 3).double()
    with torch.no_grad():
        for weights in module.library_encoder.parameters():
            weights += 0.05 * torch.randn_like(weights)
        output = module(x, covariates=design, noise=noise)
        seen = torch.cat([x.log1p(), design], dim=1) if encode_covariates else x.log1p()
        mean, logvar = module.library_encoder(seen).T
        of_z = Normal(module.mean_encoder(seen), (0.5 * module.logvar_encoder(seen)).exp())
        place = (told.obs["run"] == "old").to_numpy().astype(int)
        prior = Normal(module.library_log_mean[0, place], module.library_log_sd[0, place])
        of_library = Normal(mean, (0.5 * logvar).exp())
        kl = kl_divergence(of_z, Normal(0, 1)).sum(dim=1) + kl_divergence(of_library, prior)
        library = (mean + of_library.scale * noise[:, 2]).exp()[:, None]
        told_z = torch.cat([of_z.loc + of_z.scale * noise[:, :2], design], dim=1)
        px_mean = (library * torch.softmax(module.decoder.layers(told_z), dim=1)).numpy()
    theta = module.log_theta.detach().exp().numpy()
    log_prob = scipy.stats.nbinom.logpmf(x.numpy(), theta, theta / (theta + px_mean))
    torch.testing.assert_close(output.kl, kl, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(output.reconstruction, -log_prob.sum(axis=1), rtol=1e-10)
    assert kl_divergence(of_library, prior).median() > 0.02


def integrated(module, x):
    """−log p(x) of a module whose decoder does not look at z, by sums over a fine grid of log ℓ."""
    share = torch.softmax(module.decoder.output_layer.bias, dim=0).detach().numpy()
    theta = module.log_theta.detach().exp().numpy()
    m, s = module.library_log_mean.item(), module.library_log_sd.item()
    grid = np.linspace(m - 8 * s, m + 8 * s, 4001)
    prior = scipy.stats.norm.logpdf(grid, m, s) + math.log(grid[1] - grid[0])
    mean = np.exp(grid)[:, None] * share
    found = []
    for counts in x:
        log_prob = scipy.stats.nbinom.logpmf(counts, theta, theta / (theta + mean)).sum(axis=1)
        found.append(-scipy.special.logsumexp(prior + log_prob))
    return np.mean(found)


@pytest.mark.slow
def test_the_bounds_are_bounds_on_the_integral_over_the_library(told):
    """Else they would be of another model: log p(x | ℓ), or without the prior of ℓ."""
    module = built(told, None)
    with torch.no_grad():
        module.decoder.output_layer.weight.zero_()
        module.logvar_encoder.output_layer.weight.zero_()
        module.mean_encoder.output_layer.weight.zero_()
        module.mean_encoder.output_layer.bias.zero_()
        module.logvar_encoder.output_layer.bias.zero_()  # q(z | x) is the prior
    exact = integrated(module, told.X.toarray())
    bound = evaluation.importance_weighted_bound(module, told, n_samples=3000)
    assert bound == pytest.approx(exact, abs=0.02)
    assert evaluation.elbo(module, told, n_samples=200).neg_elbo > exact + 0.05


@pytest.mark.slow
def test_training_finds_the_library_behind_the_total(seed):
    """Genes that scatter together make a total that is wrong; the posterior is nearer to the truth.

    40 genes with θ = 1 leave a total with an error of some 16 %; ℓ itself varies by 20 %.
    """
    rng, n = np.random.default_rng(seed), 2000
    log_library = rng.normal(math.log(400), 0.2, n)
    mean = np.exp(log_library)[:, None] * rng.dirichlet(np.full(40, 5.0))
    counts = rng.poisson(mean * rng.gamma(1.0, 1.0, (n, 40))).astype(np.float32)
    module = ModelledLibrary.for_counts(AnnData(sparse.csr_matrix(counts)), 1, seed=0)
    with torch.no_grad():  # the spread of ℓ, which the totals overstate here
        module.library_log_sd.fill_(0.2)
    adata = AnnData(sparse.csr_matrix(counts))
    Trainer(max_epochs=40, device="cpu", progress=False).fit(module, adata)
    found = np.log(likelihood_parameters(module, adata).mean.sum(axis=1))
    errors = [np.sqrt(((x - log_library) ** 2).mean()) for x in (found, np.log(counts.sum(axis=1)))]
    assert errors[0] < 0.9 * errors[1]


def test_all_ways_to_the_loss_agree(told):
    module, noise = built(told), torch.randn(53, 3)
    assert not has_shortcut(module)
    [m] = CellTable.of(told, module).minibatches(np.arange(53), 64)
    plain = module(m.x, covariates=m.covariates, noise=noise)
    torch.testing.assert_close(loss_of(module, m, noise=noise), plain)
    one = evaluation.elbo(module, told, seed=3)
    torch.manual_seed(3)
    assert one.neg_elbo == pytest.approx(module(m.x, covariates=m.covariates).loss.item(), rel=1e-6)


def test_what_is_decoded_has_the_modelled_library(told):
    """Means and replicates; shares do not depend on it, and the latent space leaves it out."""
    module = built(told)
    with torch.no_grad():  # every cell: log ℓ = 7, with hardly any noise
        module.library_encoder.output_layer.weight.zero_()
        module.library_encoder.output_layer.bias.copy_(torch.tensor([7.0, -20.0]))
        module.log_theta.fill_(8.0)
    found = likelihood_parameters(module, told)
    np.testing.assert_allclose(found.mean.sum(axis=1), math.exp(7), rtol=1e-4)
    draws = posterior_predictive(module, told, n_samples=20).sum(axis=2)
    assert draws.mean() == pytest.approx(math.exp(7), rel=0.01)
    shares = denoised(module, told)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    latent = evaluation.encode(module, told)
    assert latent.mean.shape == latent.sd.shape == (53, 2)


def test_shares_and_differences_are_those_of_the_same_weights(told):
    """Of a module that takes the totals, where ℓ is inferred to be the total."""
    module = built(told, None).double()
    plain = NBVAE.for_counts(told, 2, n_hidden=16, seed=0).double()
    same = {k: v for k, v in module.state_dict().items() if not k.startswith("library")}
    plain.load_state_dict(same)
    with torch.no_grad():
        for one in (module, plain):
            one.logvar_encoder.output_layer.bias.fill_(-40.0)  # no noise in z
    np.testing.assert_allclose(denoised(module, told), denoised(plain, told), rtol=1e-5)
    one, other = (
        differential_expression(m, told, "a", "b", groupby="group").sort_index()
        for m in (module, plain)
    )
    np.testing.assert_allclose(one["lfc_model"], other["lfc_model"], atol=1e-4)
    np.testing.assert_allclose(one["lfc_raw"], other["lfc_raw"], rtol=1e-12)
    assert np.isfinite(one.to_numpy(dtype=float)).all()
    mapped = map_query(module, told, told)
    assert np.isfinite(mapped.misfit).all() and mapped.latent.mean.shape == (53, 2)


def test_it_is_kept(told, tmp_path):
    module = built(told)
    module.save(tmp_path / "module.pt")
    again = ModelledLibrary.load(tmp_path / "module.pt")
    assert evaluation.elbo(again, told) == evaluation.elbo(module, told)
    with pytest.raises(ValueError, match=r"ModelledLibrary.load\(path\) reads it"):
        NBVAE.load(tmp_path / "module.pt")
    Trainer(**SETTINGS).fit(again, told)
    assert evaluation.elbo(again, told) != evaluation.elbo(module, told)


@pytest.mark.parametrize("encode_covariates", [False, True])
def test_a_new_batch_has_a_library_of_its_own(told, encode_covariates):
    """From the totals of its cells; the known ones keep theirs, though other cells came along."""
    module = built(told, encode_covariates=encode_covariates, dispersion="gene-batch")
    before = evaluation.elbo(module, told)
    other = told.copy()
    other.obs["run"] = np.where(np.arange(53) % 3, "newest", other.obs["run"])
    extended = with_new_levels(module, other, **SETTINGS)
    assert torch.equal(extended.library_log_mean[:, :2], module.library_log_mean)
    totals = log_totals_of(other, "newest")
    assert extended.library_log_mean[0, 2].item() == pytest.approx(totals.mean(), rel=1e-6)
    assert extended.library_log_sd[0, 2].item() == pytest.approx(totals.std(), rel=1e-6)
    assert evaluation.elbo(extended, told) == pytest.approx(before, rel=1e-5)


def test_what_can_not_be_modelled_is_refused(told):
    with pytest.raises(ValueError, match="can't be given: leave size_factor_key out"):
        built(told, size_factor_key="depth")
    told.obs["run"] = ["alone"] + ["others"] * 52
    with pytest.raises(ValueError, match="batch 'alone' do not differ in their totals"):
        built(told)


@pytest.mark.slow
def test_it_changes_little_of_what_is_found_between_kinds(sample):
    """Chapter 9 says so: the shares stay those of the same genes, and so does what is called."""
    found = []
    for cls in (NBVAE, ModelledLibrary):
        module = cls.for_counts(sample, seed=0)
        Trainer(stratify_by="cell_type", device="cpu", progress=False).fit(module, sample)
        found.append(
            differential_expression(
                module, sample, "CD19+ B", "CD14+ Monocyte", groupby="cell_type"
            ).sort_index()
        )
    given, modelled = found
    frequent = given["raw_mean1"] + given["raw_mean2"] > 0.2
    difference = (modelled["lfc_mean"] - given["lfc_mean"])[frequent]
    assert abs(difference.median()) < 0.08 and difference.std() < 0.4
    assert modelled["is_de"].sum() == pytest.approx(given["is_de"].sum(), rel=0.1)
