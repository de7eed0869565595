"""The loss, its two terms and its gradients against those of scvi-tools' own module.

Same weights, same cells, same noise: what is left is the 1e-8 that scvi-tools adds to μ and θ,
and rounding.
"""

import pandas as pd
import pytest
import torch
from copied import gradients, run_theirs, scvi_vae, with_weights_of
from scipy import sparse
from torch.nn.functional import one_hot

from nbvae import Covariates, Minibatch, loss_of
from nbvae.module.fast import has_shortcut
from nbvae.module.likelihoods import LIKELIHOODS


def fast_forward(ours, x, *, covariates, **arguments):
    """Take the shortcut, with what the trainer hands to it."""
    assert has_shortcut(ours) == (ours.likelihood == LIKELIHOODS["nb"])
    return loss_of(ours, Minibatch(sparse.csr_matrix(x.numpy()), covariates), **arguments)


def compare(ours, theirs, x, *, fast, batch=None, kl_weight=1.0, rtol=1e-5):
    """Compare the loss and each cell's two terms."""
    output, noise = run_theirs(theirs, x, batch=batch, kl_weight=kl_weight)
    design = None if batch is None else one_hot(batch).to(x.dtype)
    arguments = {"covariates": design, "kl_weight": kl_weight, "noise": noise}
    mine = fast_forward(ours, x, **arguments) if fast else ours(x, **arguments)
    (reconstruction,) = output.reconstruction_loss.values()
    kl = output.kl_local["kl_divergence_z"]
    torch.testing.assert_close(mine.reconstruction, reconstruction, rtol=rtol, atol=0)
    torch.testing.assert_close(mine.kl, kl, rtol=rtol, atol=0)
    torch.testing.assert_close(mine.loss, output.loss, rtol=rtol, atol=0)
    return mine, output


@pytest.fixture
def two_batches(sample):
    """The sample's cells, every third one in another batch."""
    sample.obs["run"] = pd.Categorical(["b" if i % 3 == 0 else "a" for i in range(sample.n_obs)])
    covariates = Covariates.of(sample, "run")
    return covariates, torch.from_numpy(covariates.design(sample)).argmax(dim=1)


@pytest.mark.parametrize("fast", [False, True], ids=["forward", "fast_forward"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kl_weight", [1.0, 0.3])
def test_loss(blood, dtype, fast, kl_weight):
    theirs = scvi_vae(blood.shape[1]).to(dtype)
    ours = with_weights_of(theirs)
    compare(ours, theirs, blood.to(dtype), fast=fast, kl_weight=kl_weight)


@pytest.mark.parametrize("likelihood", ["poisson", "zinb"])
def test_other_likelihoods(blood, likelihood):
    theirs = scvi_vae(blood.shape[1], likelihood=likelihood).double()
    ours = with_weights_of(theirs)
    compare(ours, theirs, blood.double(), fast=False)


@pytest.mark.parametrize("encode_covariates", [False, True])
@pytest.mark.parametrize("fast", [False, True], ids=["forward", "fast_forward"])
def test_covariates(blood, two_batches, encode_covariates, fast):
    covariates, codes = two_batches
    theirs = scvi_vae(blood.shape[1], n_batches=2, encode_covariates=encode_covariates).double()
    ours = with_weights_of(theirs, covariates)
    compare(ours, theirs, blood.double(), fast=fast, batch=codes)


@pytest.mark.parametrize("fast", [False, True], ids=["forward", "fast_forward"])
@pytest.mark.parametrize(
    ("dtype", "likelihood"),
    [(torch.float32, "nb"), (torch.float64, "nb"), (torch.float64, "zinb")],
)
def test_gradients(blood, dtype, likelihood, fast):
    """The norm of the difference, relative to that of the gradient, of each weight matrix."""
    theirs = scvi_vae(blood.shape[1], likelihood=likelihood).to(dtype)
    ours = with_weights_of(theirs)
    mine, output = compare(ours, theirs, blood.to(dtype), fast=fast)
    mine.loss.backward()
    output.loss.backward()
    for own, reference in gradients(ours, theirs):
        assert reference.norm() > 0
        assert (own - reference).norm() / reference.norm() < 1e-4


def test_the_same_after_training_steps(blood):
    """Weights that moved: twenty steps of Adam by their loss, then the comparison again."""
    theirs = scvi_vae(blood.shape[1])
    optimizer = torch.optim.Adam(theirs.parameters(), lr=1e-2)
    start = None
    for _ in range(20):
        output, _ = run_theirs(theirs, blood)
        start = start or output.loss.item()
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
    assert output.loss.item() < start - 100
    theirs.double()
    for fast in (False, True):
        compare(with_weights_of(theirs), theirs, blood.double(), fast=fast)
