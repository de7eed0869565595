"""A module that is told the batch: what it is told, what it does with it, what it refuses."""

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from nbvae import NBVAE, Trainer
from nbvae.counts import Batches
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
    return trained(two_batches, batches=Batches.of(two_batches, "run"))


def share_of_same(labels, latent, k=15):
    """The share of neighbours that have a cell's own label."""
    nearest = NearestNeighbors(n_neighbors=k + 1).fit(latent).kneighbors(latent)[1][:, 1:]
    labels = np.asarray(labels)
    return float((labels[nearest] == labels[:, None]).mean())


@pytest.mark.parametrize("encode_batch", [False, True])
def test_batches_mix_when_the_module_is_told_and_kinds_stay_apart(two_batches, encode_batch):
    """Else the covariate would not do what it is for."""
    batches = Batches.of(two_batches, "run")
    mixed = trained(two_batches, batches=batches, encode_batch=encode_batch)
    apart = trained(two_batches)
    latent = {name: encode(m, two_batches).mean for name, m in (("mixed", mixed), ("apart", apart))}
    assert share_of_same(two_batches.obs["run"], latent["apart"]) > 0.95
    assert share_of_same(two_batches.obs["run"], latent["mixed"]) < 0.65
    for z in latent.values():
        assert share_of_same(two_batches.obs["kind"], z) > 0.95


def test_the_decoder_learns_the_factors_between_the_batches(two_batches, told):
    """Else z or θ would carry what the covariate should say."""
    z = torch.from_numpy(encode(told, two_batches).mean)
    library = torch.full((N_CELLS, 1), 600.0)
    new, old = (
        told.generative(z, library, batch=torch.full((N_CELLS,), code)).log_px_scale.detach()
        for code in (0, 1)
    )
    assert told.batches.levels == ("new", "old")
    learned = (new - old).mean(dim=0).numpy()
    effect = two_batches.uns["effect"]
    assert np.corrcoef(learned, effect)[0, 1] > 0.97
    assert np.polyfit(effect, learned, 1)[0] == pytest.approx(1, abs=0.1)


def test_without_encode_batch_the_encoders_do_not_see_it(told, two_batches):
    """Else a cell's place would depend on a label that the encoders should not need."""
    relabelled = two_batches.copy()
    relabelled.obs["run"] = "old"
    same, other = (encode(told, adata).mean for adata in (two_batches, relabelled))
    np.testing.assert_array_equal(same, other)
    assert elbo(told, two_batches).neg_elbo < elbo(told, relabelled).neg_elbo - 3  # nats a cell


def test_with_encode_batch_they_do(two_batches):
    batches = Batches.of(two_batches, "run")
    torch.manual_seed(0)
    module = NBVAE(N_GENES, 4, batches=batches, encode_batch=True)
    relabelled = two_batches.copy()
    relabelled.obs["run"] = "old"
    changed = (encode(module, two_batches).mean != encode(module, relabelled).mean).any(axis=1)
    assert changed.tolist() == (two_batches.obs["run"] != "old").tolist()


def test_the_networks_widen_by_a_column_a_batch(two_batches):
    batches = Batches.of(two_batches, "run")

    def widths(**arguments):
        module = NBVAE(N_GENES, 4, **arguments)
        networks = (module.decoder, module.mean_encoder, module.logvar_encoder)
        return [network.layers[0].in_features for network in networks]

    assert widths() == [4, N_GENES, N_GENES]
    assert widths(batches=batches) == [6, N_GENES, N_GENES]
    assert widths(batches=batches, encode_batch=True) == [6, N_GENES + 2, N_GENES + 2]


@pytest.mark.parametrize("likelihood", ["poisson", "zinb"])
def test_every_likelihood_takes_batches(two_batches, likelihood):
    """Else the decoder of the extra zeros would be given too few columns."""
    module = NBVAE(N_GENES, 4, likelihood=likelihood, batches=Batches.of(two_batches, "run"))
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


def test_a_batch_that_does_not_fit_the_module_is_refused(two_batches, told):
    x, batch = torch.ones(3, N_GENES), torch.tensor([0, 1, 1])
    with pytest.raises(ValueError, match="built without batches"):
        NBVAE(N_GENES)(x, batch=batch)
    with pytest.raises(ValueError, match=r"needs the batch.*obs\['run'\]"):
        told(x)
    with pytest.raises(ValueError, match="needs batches"):
        NBVAE(N_GENES, encode_batch=True)
    assert torch.isfinite(told(x, batch=batch).loss)


def test_one_batch_alone_is_no_covariate_but_works(two_batches):
    """Else a script would break on the day when only one experiment is there."""
    only = two_batches[two_batches.obs["run"] == "old"].copy()
    batches = Batches.of(only, "run")
    assert batches.levels == ("old",)
    module = NBVAE(N_GENES, 4, batches=batches)
    assert np.isfinite(elbo(module, only).neg_elbo)
