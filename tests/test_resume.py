"""Runs that are cut and taken up again: the same weights to the last bit, and no file lost."""

import numpy as np
import pandas as pd
import pytest
import torch

from nbvae import NBVAE, CheckpointError, Covariates, Trainer

SETTINGS = {"max_epochs": 6, "batch_size": 16, "kl_warmup_epochs": 2, "device": "cpu"}


def model(**arguments):
    torch.manual_seed(0)
    return NBVAE(12, 2, n_hidden=16, **arguments)


def cut_after(epochs, monkeypatch):
    """Let the next training die in the epoch after that, as when the power goes."""
    whole = Trainer._train_epoch

    def dying(self, run, *others):
        if run.epoch == epochs:
            raise SystemExit("power cut")
        return whole(self, run, *others)

    monkeypatch.setattr(Trainer, "_train_epoch", dying)


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("epochs", [1, 2, 3, 5])
@pytest.mark.parametrize("schedule", ["one-cycle", "constant"])
def test_a_resumed_run_ends_with_the_very_weights(small, tmp_path, monkeypatch, epochs, schedule):
    """Else a run on a borrowed GPU could not be trusted after a disconnection."""
    settings = SETTINGS | {"schedule": schedule}
    whole = Trainer(**settings)
    expected = model()
    whole.fit(expected, small)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        cut_after(epochs, patch)
        Trainer(**settings).fit(model(), small, checkpoint=tmp_path / "run.pt")
    resumed, module = Trainer(**settings), NBVAE(12, 2, n_hidden=16)  # other weights to start with
    torch.randn(7)  # and another state of the random numbers
    history = resumed.fit(module, small, checkpoint=tmp_path / "run.pt")
    assert same(module.state_dict(), expected.state_dict())
    pd.testing.assert_frame_equal(history, whole.history)
    assert (resumed.best_epoch, resumed.stopped) == (whole.best_epoch, whole.stopped)


def test_a_checkpoint_does_not_change_the_run(small, tmp_path):
    """Else those who are careful would get other results."""
    expected, module = model(), model()
    Trainer(**SETTINGS).fit(expected, small)
    Trainer(**SETTINGS).fit(module, small, checkpoint=tmp_path / "run.pt")
    assert same(module.state_dict(), expected.state_dict())


@pytest.mark.parametrize("settings", [{}, {"patience": 1, "learning_rate": 0.5}])
def test_a_finished_run_is_not_trained_again(small, tmp_path, monkeypatch, settings):
    """Else running a notebook twice would train twice, or past the end."""
    first, module = Trainer(**SETTINGS | settings), model()
    first.fit(module, small, checkpoint=tmp_path / "run.pt")
    cut_after(len(first.history), monkeypatch)  # an epoch more would raise
    again, other = Trainer(**SETTINGS | settings), NBVAE(12, 2, n_hidden=16)
    again.fit(other, small, checkpoint=tmp_path / "run.pt")
    assert same(other.state_dict(), module.state_dict())
    assert again.stopped == first.stopped


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"seed": 5}, "seed=0, this one has seed=5"),
        ({"max_epochs": 9}, "max_epochs=6, this one has max_epochs=9"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(small, tmp_path, settings, words):
    """Else two runs would be mixed into one that nobody can repeat."""
    path = tmp_path / "run.pt"
    Trainer(**SETTINGS).fit(model(), small, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=words) as caught:
        Trainer(**SETTINGS | settings).fit(model(), small, checkpoint=path)
    assert "another path" in str(caught.value)
    assert path.read_bytes() == before


def test_a_run_may_go_on_elsewhere(small, tmp_path):
    """Else a run from a GPU could not be finished on a laptop."""
    path = tmp_path / "run.pt"
    Trainer(**SETTINGS).fit(model(), small, checkpoint=path)
    settings = SETTINGS | {"device": "auto", "progress": False}
    assert Trainer(**settings).fit(model(), small, checkpoint=path) is not None


def test_a_checkpoint_of_other_counts_is_refused(small, tmp_path):
    """Else the best weights for one data set would be handed out for another."""
    path = tmp_path / "run.pt"
    Trainer(**SETTINGS).fit(model(), small, checkpoint=path)
    changed = small.copy()
    changed.X[3, 0] += 1
    with pytest.raises(CheckpointError, match="other counts"):
        Trainer(**SETTINGS).fit(model(), changed, checkpoint=path)


def test_a_checkpoint_of_another_module_is_refused(small, tmp_path):
    """Else half of the weights could be loaded."""
    path = tmp_path / "run.pt"
    Trainer(**SETTINGS).fit(model(), small, checkpoint=path)
    other = NBVAE(12, 3, n_hidden=16)
    with pytest.raises(CheckpointError, match="belongs to another module"):
        Trainer(**SETTINGS).fit(other, small, checkpoint=path)


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"no"])
def test_a_damaged_checkpoint_is_refused_and_left_alone(small, tmp_path, damage):
    """Else a file that might still be rescued would be overwritten."""
    path = tmp_path / "run.pt"
    Trainer(**SETTINGS).fit(model(), small, checkpoint=path)
    path.write_bytes(damage(path.read_bytes()))
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match="damaged"):
        Trainer(**SETTINGS).fit(model(), small, checkpoint=path)
    assert path.read_bytes() == before


def test_saved_weights_are_not_taken_for_a_run(small, tmp_path):
    """Else the two kinds of file could be confused."""
    trainer, module = Trainer(**SETTINGS), model()
    trainer.fit(module, small)
    trainer.save(tmp_path / "model.pt", module)
    with pytest.raises(CheckpointError, match=r"was not written by Trainer\.fit"):
        Trainer(**SETTINGS).fit(model(), small, checkpoint=tmp_path / "model.pt")


def test_a_failed_write_leaves_the_last_epoch(small, tmp_path, monkeypatch):
    """Else a full disk would cost the whole run."""
    path = tmp_path / "run.pt"
    expected = model()
    Trainer(**SETTINGS).fit(expected, small)
    whole, calls = torch.save, []

    def full(content, file):
        calls.append(file)
        if len(calls) == 4:
            raise OSError("no space left on device")
        return whole(content, file)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(OSError, match="no space"):
            Trainer(**SETTINGS).fit(model(), small, checkpoint=path)
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]
    module = model()
    Trainer(**SETTINGS).fit(module, small, checkpoint=path)
    assert same(module.state_dict(), expected.state_dict())


def test_a_run_with_batches_resumes(small, tmp_path, monkeypatch):
    """Else the covariate's codes could differ after the interruption."""
    expected, module = (model(covariates=Covariates.of(small, "group")) for _ in range(2))
    Trainer(**SETTINGS).fit(expected, small)
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        cut_after(3, patch)
        Trainer(**SETTINGS).fit(module, small, checkpoint=tmp_path / "run.pt")
    Trainer(**SETTINGS).fit(module, small, checkpoint=tmp_path / "run.pt")
    assert same(module.state_dict(), expected.state_dict())


def test_an_interrupted_run_goes_on(small, tmp_path, monkeypatch):
    """Else Ctrl-C would end a run for good."""
    expected, module = model(), model()
    Trainer(**SETTINGS).fit(expected, small)
    whole = Trainer._train_epoch

    def stopped(self, run, *others):
        if run.epoch == 3:
            raise KeyboardInterrupt
        return whole(self, run, *others)

    first = Trainer(**SETTINGS)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_train_epoch", stopped)
        first.fit(module, small, checkpoint=tmp_path / "run.pt")
    assert first.stopped == "interrupted"
    assert np.array_equal(first.history.index, [1, 2, 3])
    second = Trainer(**SETTINGS)
    second.fit(module, small, checkpoint=tmp_path / "run.pt")
    assert second.stopped == "max_epochs"
    assert same(module.state_dict(), expected.state_dict())


def test_weights_of_other_batches_are_refused(small, tmp_path):
    """Else each cell's batch would be read as another one, and nobody would notice."""
    other = small.copy()
    other.obs["group"] = other.obs["group"].replace("a", "A")
    trainer, module = Trainer(**SETTINGS), model(covariates=Covariates.of(small, "group"))
    trainer.fit(module, small, checkpoint=tmp_path / "run.pt")
    trainer.save(tmp_path / "model.pt", module)
    stranger = model(covariates=Covariates.of(other, "group"))
    with pytest.raises(CheckpointError, match="batches"):
        Trainer.load(tmp_path / "model.pt", stranger)
    with pytest.raises(CheckpointError, match="batches"):
        Trainer(**SETTINGS).fit(stranger, other, checkpoint=tmp_path / "run.pt")
    assert Trainer.load(tmp_path / "model.pt", module).best_epoch == trainer.best_epoch
