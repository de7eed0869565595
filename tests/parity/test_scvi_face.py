"""The benchmark judges scvi-tools through a face; what it sees there is scvi-tools' own ELBO."""

import copy

import pytest
import torch
from copied import run_theirs
from scvi.module import VAE

from benchmarks.rivals import ScviFace
from nbvae import evaluation


@pytest.fixture
def theirs(blood):
    """scvi-tools' module by its defaults, with normalisation layers that have seen cells."""
    module = VAE(blood.shape[1], gene_likelihood="nb")
    for _ in range(5):
        run_theirs(module, blood)
    return module


def test_terms_of_the_elbo(theirs, blood):
    theirs.double().eval()
    face = ScviFace(theirs)
    output, noise = run_theirs(theirs, blood.double())
    seen = face(blood.double(), noise=noise)
    (reconstruction,) = output.reconstruction_loss.values()
    kl = output.kl_local["kl_divergence_z"]
    torch.testing.assert_close(seen.reconstruction, reconstruction, rtol=1e-5, atol=0)
    torch.testing.assert_close(seen.kl, kl, rtol=1e-5, atol=0)


def test_bound_against_their_estimate(theirs, sample, blood):
    """Each takes 1,500 draws of its own; what they differ by is the noise of that."""
    theirs.eval()
    cells = list(range(20))
    tensors = {"X": blood[:20], "batch": torch.zeros(20, 1), "labels": torch.zeros(20, 1)}
    own = -theirs.marginal_ll(tensors, n_mc_samples=1500, return_mean=True)
    seen = evaluation.importance_weighted_bound(
        ScviFace(theirs), sample, indices=cells, n_samples=1500
    )
    single = evaluation.elbo(ScviFace(theirs), sample, indices=cells).neg_elbo
    assert abs(seen - own) < 0.15 * (single - seen)


def test_being_looked_at_changes_nothing(theirs, sample):
    before = copy.deepcopy(theirs.state_dict())
    evaluation.elbo(ScviFace(theirs), sample)
    assert all(module.training for module in theirs.modules())
    assert all(torch.equal(value, before[name]) for name, value in theirs.state_dict().items())
