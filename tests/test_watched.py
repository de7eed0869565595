"""Training runs that are watched, for the figure of chapter 6."""

import numpy as np
import pytest
import torch

from nbvae import NBVAE, Trainer
from nbvae.teaching.living.training import (
    EPOCHS,
    Watched,
    kinds,
    library_in,
    on_map,
    training_scrubber,
)


@pytest.fixture
def run(small):
    module = NBVAE.for_counts(small, seed=0)
    return Watched(device="cpu", batch_size=16).watch(module, small)


def test_to_watch_changes_nothing(small, run):
    """Else a run in the figure would be another than the one of Trainer."""
    other = NBVAE.for_counts(small, seed=0)
    history = Trainer(device="cpu", batch_size=16, max_epochs=EPOCHS[-1]).fit(other, small)
    assert history.equals(run.history)
    assert all(map(torch.equal, other.state_dict().values(), run.module.state_dict().values()))


def test_a_frame_is_kept_before_training_and_after_each_epoch_named(small, run):
    before = NBVAE.for_counts(small, seed=0)
    assert len(run.frames) == len(EPOCHS)
    with torch.no_grad():
        mean = before.inference(torch.from_numpy(small.X.toarray())).qz_mean.numpy()
    np.testing.assert_allclose(run.frames[0].mean, mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run.frames[0].theta, before.log_theta.detach().exp(), rtol=1e-6)


def test_a_run_that_breaks_keeps_its_last_frame(small, run):
    class Breaks(NBVAE):
        steps = 0

        def loss(self, *terms, **options):
            output = super().loss(*terms, **options)
            self.steps += self.training
            return output._replace(loss=output.loss * (1 if self.steps < 5 else torch.nan))

    broken = Watched(device="cpu").watch(Breaks.for_counts(small, seed=0), small)
    assert len(broken.frames) == 5  # a step an epoch, and the one before
    figure = training_scrubber({"a": run, "b": broken}, {"a": "well", "b": "broken"}, no_z=100.0)
    sizes = [{key: len(text) for key, text in shown.items()} for shown in figure.trained["runs"]]
    assert sizes[0] == sizes[1]


def test_library_in_z_is_found_within_the_types(small):
    """A z that is the type and nothing else tells no library; one that is log ℓ tells it all."""
    adata = small.copy()
    adata.obs["cell_type"] = np.resize(["a", "b", "c"], adata.n_obs)
    library = np.log(np.asarray(adata.X.sum(1)).ravel())
    types = np.eye(3)[kinds(adata)]
    assert library_in(types, adata) == pytest.approx(0, abs=1e-9)
    assert library_in(np.column_stack([types, library]), adata) == pytest.approx(1)


def test_cells_without_types_are_of_one_kind(small):
    assert set(kinds(small)) == {0}


def test_the_map_keeps_the_largest_two_spreads_of_the_last_frame(run):
    spreads = np.linalg.eigvalsh(np.cov(run.frames[-1].mean.T))[::-1]
    shown = on_map(run.frames)[-1].var(axis=0, ddof=1)
    assert shown == pytest.approx(spreads[:2], rel=1e-4)
