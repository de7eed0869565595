"""ℓ from a column of obs: what it changes, that all ways agree on it, and what is refused."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from anndata import AnnData
from scipy import sparse

from nbvae import NBVAE, CellTable, CheckpointError, Minibatch, Trainer, evaluation, loss_of
from nbvae.data.sums import GeneSums
from nbvae.expression import denoised, differential_expression, posterior_predictive
from nbvae.module.initialisation import rates
from nbvae.module.mlp import log_softplus

SETTINGS = {"max_epochs": 2, "device": "cpu", "progress": False}


def built(told, **arguments):
    return NBVAE.for_counts(told, 2, n_hidden=16, size_factor_key="depth", seed=0, **arguments)


def test_the_loss_is_scipys_with_these_means(told):
    """Else the size factor, its logarithm or the softplus would be somewhere else. Float64."""
    module, noise = built(told).double(), torch.randn(53, 2).double()
    x = torch.from_numpy(told.X.toarray()).double()
    size = torch.from_numpy(told.obs[["depth"]].to_numpy())
    with torch.no_grad():
        output = module(x, library=size, noise=noise)
        z = module.inference(x, noise=noise).z
        rate = np.log1p(np.exp(module.decoder.layers(z).numpy()))
        theta = module.log_theta.exp().numpy()
    mean = size.numpy() * rate
    log_prob = scipy.stats.nbinom.logpmf(x.numpy(), theta, theta / (theta + mean))
    np.testing.assert_allclose(output.reconstruction.numpy(), -log_prob.sum(axis=1), rtol=1e-10)


def test_the_link_is_the_logarithm_of_the_softplus():
    """Else rates far below 1, which most are, would be 0. Against 60 digits, by hand."""
    y = torch.tensor([-800.0, -40, -15.1, -14.9, -1, 0, 3, 50], dtype=torch.float64)
    y.requires_grad_()
    # log1p(exp(y)) = exp(y) (1 − exp(y)/2 + exp(2y)/3 − …) for small y
    small = y.detach()[:3].numpy()
    expected = [*(small + np.log1p(-np.exp(small) / 2 + np.exp(2 * small) / 3))]
    expected += [*np.log(np.logaddexp(0, y.detach()[3:].numpy()))]
    ours = log_softplus(y)
    np.testing.assert_allclose(ours.detach().numpy(), expected, rtol=1e-12)
    assert torch.autograd.gradcheck(log_softplus, y)
    single = torch.tensor([-500.0, 500.0], requires_grad=True)
    log_softplus(single).sum().backward()
    torch.testing.assert_close(single.grad, torch.tensor([1.0, 1 / 500]))


def test_it_starts_from_the_rates(told):
    """Else training would begin with expected counts a thousand times too large."""
    module, size = built(told), told.obs["depth"].to_numpy()
    bias = module.decoder.output_layer.bias.detach().double()
    start = torch.nn.functional.softplus(bias).numpy()
    np.testing.assert_allclose(start, rates(GeneSums.of(told.X, size)), rtol=1e-5)
    totals = np.asarray(told.X.sum(axis=0)).ravel()
    np.testing.assert_allclose(start * size.sum(), totals + 0.5, rtol=1e-5)


def test_all_ways_to_the_loss_agree(told):
    """Else the evaluation would judge another model than the one trained."""
    module, noise = built(told), torch.randn(53, 2)
    table = CellTable.of(told, module)
    [m] = table.minibatches(np.arange(53), 64)
    np.testing.assert_allclose(m.library.numpy()[:, 0], told.obs["depth"], rtol=1e-6)
    fast, plain = loss_of(module, m, noise=noise), module(m.x, library=m.library, noise=noise)
    torch.testing.assert_close(fast, plain)
    one, other = (evaluation.elbo(module, cells, seed=3) for cells in (told, table))
    assert one == other
    torch.manual_seed(3)
    assert one.neg_elbo == pytest.approx(module(m.x, library=m.library).loss.item(), rel=1e-6)
    bound = evaluation.importance_weighted_bound(module, told, n_samples=1, seed=3)
    assert bound == pytest.approx(one.neg_elbo, rel=0.02)


def test_twice_the_size_factor_at_half_the_rate_is_the_same_model(told):
    """Else the unit of the size factors would matter."""
    module = built(told)
    told.obs["depth"] *= 2
    twice = built(told)
    bias, half = (
        torch.nn.functional.softplus(m.decoder.output_layer.bias) for m in (module, twice)
    )
    torch.testing.assert_close(bias, 2 * half, rtol=1e-4, atol=0)


def test_replicates_have_the_expected_counts_of_the_size_factor(told):
    """Else replicates would have the cells' own totals, which this model does not know."""
    module = built(told)
    with torch.no_grad():
        for weights in (module.decoder.layers[0].weight, module.decoder.layers[0].bias):
            weights.zero_()  # one rate for all cells
    rate = denoised(module, told, n_samples=1)
    np.testing.assert_allclose(rate[0], rate[-1], rtol=1e-6)
    replicates = posterior_predictive(module, told, n_samples=200).mean(axis=0).sum(axis=1)
    expected = told.obs["depth"].to_numpy() * rate[0].sum()
    assert np.polyfit(expected, replicates, 1)[0] == pytest.approx(1, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_gene_that_takes_half_of_the_counts_moves_no_other(seed):
    """Else, as with totals, each other gene would seem to fall by a factor of two."""
    rng = np.random.default_rng(seed)
    second = np.arange(400) % 2 == 1
    mean = np.tile(rng.gamma(2, 2, size=30), (400, 1))
    mean[second, 0] += mean[0].sum()  # as much as all others together
    spikes = rng.uniform(0.5, 1.5, size=400)  # known amounts of added RNA say how deep each is read
    counts = rng.poisson(spikes[:, None] * mean).astype(np.float32)
    obs = pd.DataFrame({"spikes": spikes}, index=[f"cell-{i}" for i in range(400)])
    adata = AnnData(X=sparse.csr_matrix(counts), obs=obs)
    adata = adata[counts.sum(axis=1) > 0].copy()
    second = second[counts.sum(axis=1) > 0]
    lfc = {}
    for key in (None, "spikes"):
        module = NBVAE.for_counts(adata, 2, n_hidden=32, size_factor_key=key, seed=seed)
        Trainer(max_epochs=40, device="cpu", progress=False).fit(module, adata)
        table = differential_expression(module, adata, second, ~second, pseudocount=1e-6)
        lfc[key] = table["lfc_mean"].loc[adata.var_names].to_numpy()
    assert np.median(lfc[None][1:]) == pytest.approx(-1, abs=0.15)
    assert np.median(lfc["spikes"][1:]) == pytest.approx(0, abs=0.1)
    assert lfc["spikes"][0] > 2


def test_a_file_keeps_the_key(told, tmp_path):
    """Else a module would come back that takes totals, and shares for rates."""
    module = built(told)
    module.save(tmp_path / "module.pt")
    again = NBVAE.load(tmp_path / "module.pt")
    assert again.size_factor_key == "depth"
    assert evaluation.elbo(again, told) == evaluation.elbo(module, told)
    trainer = Trainer(**SETTINGS)
    trainer.fit(module, told, checkpoint=tmp_path / "run.pt")
    trainer.save(tmp_path / "trained.pt", module)
    with pytest.raises(CheckpointError, match="size_factor_key='depth', this one has None"):
        Trainer.load(tmp_path / "trained.pt", NBVAE(12, 2, n_hidden=16))
    told.obs["depth"] *= 1.01
    with pytest.raises(CheckpointError, match="with other size factors"):
        Trainer(**SETTINGS).fit(built(told), told, checkpoint=tmp_path / "run.pt")


WRONG = {
    "zero": (0.0, "is 0, but a size factor is above 0"),
    "negative": (-2.0, "is -2, but a size factor is above 0"),
    "missing": (np.nan, "no value"),
    "infinite": (np.inf, "'inf', which is not a finite number"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("use", [evaluation.elbo, evaluation.encode, denoised, NBVAE.for_counts])
def test_what_is_no_size_factor_is_refused_with_the_cell(told, name, use):
    """Else log 0 or log of a negative number would be NaN, long after."""
    module = built(told)
    value, words = WRONG[name]
    told.obs.loc["cell-7", "depth"] = value
    with pytest.raises(ValueError, match=f"cell-7.*{words}|{words}.*cell-7"):
        built(told) if use == NBVAE.for_counts else use(module, told)


def test_a_missing_column_is_named(told):
    module = built(told)
    del told.obs["depth"]
    with pytest.raises(KeyError, match="no column 'depth'"):
        evaluation.encode(module, told)
    with pytest.raises(TypeError, match="size_factor_key must name a column"):
        NBVAE(12, size_factor_key=3)


def test_a_call_by_hand_needs_what_the_module_needs(told):
    """Else the counts' own total would be taken for a size factor of another unit."""
    x = torch.from_numpy(told.X.toarray())
    with pytest.raises(ValueError, match=r"needs library=.*obs\['depth'\].*\(53, 1\), not none"):
        built(told)(x)
    with pytest.raises(ValueError, match=r"not \(53,\)"):
        built(told)(x, library=torch.ones(53))
    with pytest.raises(ValueError, match="takes the cells' totals"):
        NBVAE(12)(x, library=torch.ones(53, 1))
    with pytest.raises(ValueError, match="another library"):
        evaluation.elbo(built(told), CellTable.of(told))
    with pytest.raises(ValueError, match="another library"):
        evaluation.elbo(NBVAE(12), CellTable.of(told, built(told)))
    assert torch.isfinite(loss_of(NBVAE(12), Minibatch(told.X)).loss)
