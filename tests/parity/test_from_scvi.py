"""A model of scvi-tools and the NBVAE made of it: the same loss, cell by cell, and the same z."""

import numpy as np
import pytest
import scvi
import torch
from scvi.model import SCVI

from nbvae import NBVAE, CellTable, evaluation, from_scvi, loss_of

pytestmark = pytest.mark.filterwarnings("default")  # Lightning has advice to give
COLUMNS = dict(
    batch_key="run",
    categorical_covariate_keys=["donor", "site"],
    continuous_covariate_keys=["percent_mito", "age"],
)
SETUPS = {
    "nothing": {},
    "a batch": {"batch_key": "run"},
    "a batch of one": {"batch_key": "site"},
    "several": COLUMNS,
    "size factors": {"size_factor_key": "depth"},
    "all, in a layer": {**COLUMNS, "size_factor_key": "depth", "layer": "counts"},
}
ARGUMENTS = {
    "by default": {},
    "encoding": {"encode_covariates": True, "gene_likelihood": "nb"},
    "Poisson": {"gene_likelihood": "poisson", "use_batch_norm": "encoder", "n_latent": 5},
    "deep": {"n_layers": 3, "deeply_inject_covariates": False, "encode_covariates": True},
    "θ per batch": {"dispersion": "gene-batch", "gene_likelihood": "nb"},
    "θ per batch, ZINB": {"dispersion": "gene-batch", "encode_covariates": True},
    "no θ at all": {"dispersion": "gene-batch", "gene_likelihood": "poisson"},
    "a modelled library": {"use_observed_lib_size": False, "encode_covariates": True},
    "plain": {"gene_likelihood": "nb", "use_batch_norm": "none", "dropout_rate": 0, "n_hidden": 32},
}


@pytest.fixture
def cells(sample):
    """The sample with all that a model can be told of it."""
    rng, n = np.random.default_rng(0), sample.n_obs
    sample.obs["run"] = np.array(["new", "old", "third"])[rng.integers(3, size=n)]
    sample.obs["donor"] = np.array(["d2", "d1"])[rng.integers(2, size=n)]
    sample.obs["site"] = "here"
    sample.obs["percent_mito"] = rng.gamma(4, size=n) / 4
    sample.obs["age"] = rng.normal(size=n)  # in tens of years; of 50, μ falls below their 1e-8
    total = np.asarray(sample.X.sum(axis=1)).ravel()
    sample.obs["depth"] = total * rng.gamma(50, 0.1, size=n) / total.mean()
    sample.layers["counts"] = sample.X.copy()
    return sample


def trained(cells, setup, **arguments):
    """Their model after a few steps, so that its normalisation has seen cells."""
    scvi.settings.seed = 0
    SCVI.setup_anndata(cells, **setup)
    model = SCVI(cells, **arguments)
    model.train(max_epochs=2, accelerator="cpu", enable_progress_bar=False, logger=False)
    model.module.eval()
    return model


def in_doubles(theirs):
    """Their module, but for what they multiply with a float32 matrix of zeros and ones."""
    theirs.double()
    if theirs.dispersion == "gene-batch":
        theirs.px_r.data = theirs.px_r.data.float()
    if not theirs.use_observed_lib_size:
        theirs.library_log_means = theirs.library_log_means.float()
        theirs.library_log_vars = theirs.library_log_vars.float()
    return theirs


def both(model, cells):
    """Their loss output, and ours at their draw of z, in doubles."""
    ours, theirs = from_scvi(model).double(), in_doubles(model.module)
    [tensors] = model._make_data_loader(cells, batch_size=len(cells))
    doubles = {k: v.double() if v.is_floating_point() else v for k, v in tensors.items()}
    inference, generative, output = theirs(doubles, compute_loss=True)
    qz, z = inference["qz"], inference["z"]
    if prior := generative["pl"]:  # log ℓ, as a coordinate of z
        z = torch.cat([z, (inference["library"] - prior.loc) / prior.scale], dim=1)
    [minibatch] = CellTable.of(cells, ours).minibatches(np.arange(len(cells)), len(cells))
    options = {} if minibatch.covariates is None else {"covariates": minibatch.covariates.double()}
    if minibatch.size_factors is not None:
        options["library"] = minibatch.size_factors.double()
    with torch.no_grad():
        q = ours.inference(minibatch.x, **{k: v for k, v in options.items() if k == "covariates"})
        noise = (z - q.qz_mean) / (0.5 * q.qz_logvar).exp()
        mine = ours(minibatch.x, noise=noise, **options)
    return output, qz, mine, q


@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize("setup", SETUPS)
def test_the_loss_is_the_same(cells, setup, arguments):
    model = trained(cells, SETUPS[setup], **ARGUMENTS[arguments])
    model.module.z_encoder.var_eps = model.module.l_encoder.var_eps = 0.0
    output, qz, mine, q = both(model, cells)
    (reconstruction,) = output.reconstruction_loss.values()
    close = {"rtol": 2e-5, "atol": 0}  # float32 numbers of theirs went into the design
    kl = output.kl_local["kl_divergence_z"] + output.kl_local["kl_divergence_l"]
    torch.testing.assert_close(q.qz_mean[:, : qz.loc.shape[1]], qz.loc, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(mine.reconstruction, reconstruction, **close)
    torch.testing.assert_close(mine.kl, kl, rtol=1e-5, atol=1e-5)


def test_their_floor_under_the_variance_is_as_small_as_it_says(cells):
    output, qz, mine, _ = both(trained(cells, {}), cells)
    lower = mine.kl - output.kl_local["kl_divergence_z"]
    bound = 0.5 * 1e-4 * (1 / (qz.variance - 1e-4)).sum(dim=1)
    assert (lower.abs() <= bound + 1e-9).all() and bound.median() < 0.1


def test_their_latent_space_comes_along(cells, tmp_path):
    """By names: the cells in another order, the genes, too; and from a file."""
    model = trained(cells, COLUMNS)
    module = from_scvi(model)
    expected = model.get_latent_representation()
    other = cells[::-1, ::-1].copy()
    np.testing.assert_allclose(evaluation.encode(module, other).mean[::-1], expected, atol=1e-4)
    module.save(tmp_path / "module.pt")
    again = NBVAE.load(tmp_path / "module.pt")
    np.testing.assert_allclose(evaluation.encode(again, cells).mean, expected, atol=1e-4)
    assert module.covariates.keys == ("percent_mito", "age", "run", "donor")


def test_the_trainers_shortcut_knows_it(cells):
    module = from_scvi(trained(cells, {}, gene_likelihood="nb"))
    table = CellTable.of(cells, module)
    [minibatch] = table.minibatches(np.arange(700), 700)
    noise = torch.randn(700, 10)
    fast, plain = loss_of(module, minibatch, noise=noise), module(minibatch.x, noise=noise)
    torch.testing.assert_close(fast.loss, plain.loss)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dispersion": "gene-cell"}, "dispersion='gene-cell'"),
        ({"n_layers": 2}, "deeper layers of its decoder"),
        ({"n_layers": 2, "encode_covariates": True}, "deeper layers of its z_encoder"),
        ({"latent_distribution": "ln"}, "latent_distribution='ln'"),
        (
            {"use_layer_norm": "encoder", "use_observed_lib_size": False},
            "LayerNorm in its z_encoder; LayerNorm in its l_encoder",
        ),
        ({"log_variational": False}, "log_variational=False"),
        ({"use_layer_norm": "both"}, "LayerNorm in its z_encoder; LayerNorm in its decoder"),
        ({"batch_representation": "embedding"}, "batch_representation='embedding'"),
        ({"gene_likelihood": "normal"}, "gene_likelihood='normal'"),
        ({"var_activation": torch.nn.functional.softplus}, "var_activation"),
        ({"n_layers": 2, "dispersion": "gene-cell"}, "dispersion='gene-cell'.*; .*deeper layers"),
    ],
    ids=str,
)
def test_what_has_no_like_here_is_named(cells, arguments, words):
    SCVI.setup_anndata(cells, batch_key="run")
    with pytest.raises(ValueError, match=words):
        from_scvi(SCVI(cells, **arguments))
