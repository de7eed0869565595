"""A module with covariates: what it is told, what it does with it, what it refuses."""

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from nbvae import NBVAE, Covariates, Trainer
from nbvae.evaluation import elbo, encode
from nbvae.expression import denoised

pytestmark = pytest.mark.slow

N_CELLS, N_GENES = 240, 40


@pytest.fixture(scope="module")
def two_batches():
    """Two kinds of cell in each of two batches; the batch changes every gene by a known factor."""
    rng = np.random.default_rng(0)
    kind, batch = np.arange(N_CELLS) % 2, np.arange(N_CELLS) // 2 % 2
    log_share = rng.normal(size=N_GENES) + kind[:, None] * rng.normal(size=N_GENES)
    effect = 0.5 * rng.normal(size=N_GENES)
    share = np.exp(log_share + batch[:, None] * effect)
    share /= share.sum(axis=1, keepdims=True)
    adata = AnnData(
        X=sparse.csr_matrix(rng.poisson(600 * share).astype(np.float32)),
        obs=pd.DataFrame(
            {"kind": kind, "run": np.array(["old", "new"])[batch]},
            index=[f"cell-{i}" for i in range(N_CELLS)],
        ),
    )
    adata.uns["effect"] = effect  # log of new by old, up to a constant
    return adata


def trained(adata, **arguments):
    torch.manual_seed(0)
    module = NBVAE.for_counts(adata, n_latent=4, n_hidden=32, **arguments)
    Trainer(max_epochs=150, device="cpu", progress=False).fit(module, adata)
    return module


@pytest.fixture(scope="module")
def told(two_batches):
    return trained(two_batches, covariates=Covariates.of(two_batches, "run"))


@pytest.fixture(scope="module")
def told_twice(two_batches):
    """The encoder is told, too."""
    return trained(
        two_batches, covariates=Covariates.of(two_batches, "run"), encode_covariates=True
    )


@pytest.fixture(scope="module")
def untold(two_batches):
    return trained(two_batches)


def share_of_same(labels, latent, k=15):
    """The share of neighbours that have a cell's own label."""
    nearest = NearestNeighbors(n_neighbors=k + 1).fit(latent).kneighbors(latent)[1][:, 1:]
    labels = np.asarray(labels)
    return float((labels[nearest] == labels[:, None]).mean())


@pytest.mark.parametrize("mixed", ["told", "told_twice"])
def test_batches_mix_when_the_module_is_told_and_kinds_stay_apart(
    two_batches, untold, mixed, request
):
    """Else the covariate would not do what it is for."""
    modules = {"mixed": request.getfixturevalue(mixed), "apart": untold}
    latent = {name: encode(module, two_batches).mean for name, module in modules.items()}
    assert share_of_same(two_batches.obs["run"], latent["apart"]) > 0.95
    assert share_of_same(two_batches.obs["run"], latent["mixed"]) < 0.65
    for z in latent.values():
        assert share_of_same(two_batches.obs["kind"], z) > 0.95


def test_the_decoder_learns_the_factors_between_the_batches(two_batches, told):
    """Else z or θ would carry what the covariate should say."""
    z = torch.from_numpy(encode(told, two_batches).mean)
    library = torch.full((N_CELLS, 1), 600.0)
    new, old = (
        told.generative(
            z, library, covariates=told.covariates.as_if(run, N_CELLS)
        ).log_px_scale.detach()
        for run in ("new", "old")
    )
    assert told.covariates.levels == ("new", "old")
    learned = (new - old).mean(dim=0).numpy()
    effect = two_batches.uns["effect"]
    assert np.corrcoef(learned, effect)[0, 1] > 0.97
    assert np.polyfit(effect, learned, 1)[0] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_the_decoder_learns_a_number_and_a_batch_side_by_side(seed):
    """Else one would take what is the other's: cells of the new run have more of the number."""
    rng = np.random.default_rng(seed)
    new = np.arange(N_CELLS) % 2
    percent = 5 + new + 2 * rng.normal(size=N_CELLS)
    base, of_run, of_percent = rng.normal(size=(3, N_GENES)) * np.array([[1], [0.5], [0.15]])
    share = np.exp(base + new[:, None] * of_run + percent[:, None] * of_percent)
    share /= share.sum(axis=1, keepdims=True)
    obs = pd.DataFrame({"run": np.array(["old", "new"])[new], "percent_mito": percent})
    adata = AnnData(
        X=sparse.csr_matrix(rng.poisson(600 * share).astype(np.float32)),
        obs=obs.set_index(obs.index.astype(str)),
    )
    module = trained(adata, covariates=["run", "percent_mito"])
    own, z = torch.from_numpy(module.covariates.design(adata)), torch.zeros(N_CELLS, 4)

    def log_share(**changes):
        design = module.covariates.as_if(changes, own)
        return module.generative(z, torch.ones(N_CELLS, 1), covariates=design).log_px_scale

    for (more, less), truth in (
        ((log_share(run="new"), log_share(run="old")), of_run),
        ((log_share(percent_mito=7.0), log_share(percent_mito=5.0)), 2 * of_percent),
    ):
        learned = (more - less).mean(dim=0).detach().numpy()
        assert np.corrcoef(learned, truth)[0, 1] > 0.95
        assert np.polyfit(truth, learned, 1)[0] == pytest.approx(1, abs=0.25)


def test_without_encode_covariates_the_encoders_do_not_see_it(told, two_batches):
    """Else a cell's place would depend on a label that the encoders should not need."""
    relabelled = two_batches.copy()
    relabelled.obs["run"] = "old"
    same, other = (encode(told, adata).mean for adata in (two_batches, relabelled))
    np.testing.assert_array_equal(same, other)
    assert elbo(told, two_batches).neg_elbo < elbo(told, relabelled).neg_elbo - 3  # nats per cell


def test_with_encode_covariates_they_do(two_batches):
    covariates = Covariates.of(two_batches, "run")
    torch.manual_seed(0)
    module = NBVAE(N_GENES, 4, covariates=covariates, encode_covariates=True)
    relabelled = two_batches.copy()
    relabelled.obs["run"] = "old"
    changed = (encode(module, two_batches).mean != encode(module, relabelled).mean).any(axis=1)
    assert changed.tolist() == (two_batches.obs["run"] != "old").tolist()


def test_the_networks_widen_by_a_column_per_level(two_batches):
    covariates = Covariates.of(two_batches, "run")

    def widths(**arguments):
        module = NBVAE(N_GENES, 4, **arguments)
        networks = (module.decoder, module.mean_encoder, module.logvar_encoder)
        return [network.layers[0].in_features for network in networks]

    assert widths() == [4, N_GENES, N_GENES]
    assert widths(covariates=covariates) == [6, N_GENES, N_GENES]
    assert widths(covariates=covariates, encode_covariates=True) == [6, N_GENES + 2, N_GENES + 2]


@pytest.mark.parametrize("likelihood", ["poisson", "zinb"])
def test_every_likelihood_takes_covariates(two_batches, likelihood):
    """Else the decoder of the extra zeros would be given too few columns."""
    module = NBVAE(N_GENES, 4, likelihood=likelihood, covariates=Covariates.of(two_batches, "run"))
    history = Trainer(max_epochs=2, progress=False).fit(module, two_batches)
    assert np.isfinite(history).all(axis=None)


def test_a_subset_is_encoded_as_within_the_whole(told, two_batches):
    """Else cells of one batch alone would be given the code of another."""
    some = two_batches[two_batches.obs["run"] == "old"].copy()
    whole = encode(told, two_batches).mean[(two_batches.obs["run"] == "old").to_numpy()]
    np.testing.assert_allclose(encode(told, some).mean, whole, atol=1e-5)
    one = denoised(told, some[:1], n_samples=4)
    assert np.asarray(one).shape == (1, N_GENES)


@pytest.mark.parametrize("use", [encode, elbo, lambda m, a: Trainer(max_epochs=1).fit(m, a)])
def test_a_batch_that_was_never_seen_is_refused_everywhere(told, two_batches, use):
    """Else its code would be out of range, or another batch's."""
    strange = two_batches[:5].copy()
    strange.obs["run"] = ["old", "new", "third", "old", "new"]
    with pytest.raises(ValueError, match=r"(?s)cell-2.*'third'|'third'.*cell-2"):
        use(told, strange)


def test_a_missing_column_is_named(told, two_batches):
    without = two_batches.copy()
    del without.obs["run"]
    with pytest.raises(KeyError, match="run"):
        encode(told, without)


@pytest.mark.parametrize("given", [None, torch.tensor([0.0, 1.0, 1.0]), torch.ones(3, 3)])
def test_covariates_that_do_not_fit_the_module_are_refused(told, given):
    """Else PyTorch would report two shapes and not what was to be passed."""
    with pytest.raises(ValueError, match=r"needs covariates of shape \(cells, 2\).*obs\['run'\]"):
        told(torch.ones(3, N_GENES), covariates=given)


def test_covariates_need_a_module_that_has_some(told):
    x, covariates = torch.ones(3, N_GENES), told.covariates.as_if("new", 3)
    with pytest.raises(ValueError, match="built without covariates"):
        NBVAE(N_GENES)(x, covariates=covariates)
    with pytest.raises(ValueError, match="needs covariates"):
        NBVAE(N_GENES, encode_covariates=True)
    assert torch.isfinite(told(x, covariates=covariates).loss)


def test_one_batch_alone_is_no_covariate_but_works(two_batches):
    """Else a script would break on the day when only one experiment is there."""
    only = two_batches[two_batches.obs["run"] == "old"].copy()
    covariates = Covariates.of(only, "run")
    assert covariates.levels == ("old",)
    module = NBVAE(N_GENES, 4, covariates=covariates)
    assert np.isfinite(elbo(module, only).neg_elbo)
