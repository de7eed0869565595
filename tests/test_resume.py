"""Runs that are cut and taken up again: the same weights to the last bit, and no file lost."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from nbvae import NBVAE, CheckpointError, Covariates, Trainer, files
from nbvae.module.likelihoods import LIKELIHOODS
from nbvae.module.mlp import LINKS
from nbvae.train.settings import SCHEDULES

OTHER_LEVELS = (
    r"covariates \[{'key': 'group', 'levels': \['a', 'b', 'c'\]}\], this one has "
    r"\[{'key': 'group', 'levels': \['A', 'b', 'c'\]}\]"
)
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
@pytest.mark.parametrize("schedule", SCHEDULES)
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
    with pytest.raises(CheckpointError, match=OTHER_LEVELS):
        Trainer.load(tmp_path / "model.pt", stranger)
    with pytest.raises(CheckpointError, match=OTHER_LEVELS):
        Trainer(**SETTINGS).fit(stranger, other, checkpoint=tmp_path / "run.pt")
    assert Trainer.load(tmp_path / "model.pt", module).best_epoch == trainer.best_epoch


def test_numbers_are_standardised_in_a_file_as_in_the_module(told, tmp_path):
    """Else each cell's number would be read by another scale, and nobody would notice."""
    other = told.copy()
    other.obs["percent_mito"] *= 1.01
    covariates = Covariates.of(told, "percent_mito", "group")
    trainer, module = Trainer(**SETTINGS), model(covariates=covariates)
    trainer.fit(module, told, checkpoint=tmp_path / "run.pt")
    trainer.save(tmp_path / "model.pt", module)
    stranger = model(covariates=Covariates.of(other, "percent_mito", "group"))
    with pytest.raises(CheckpointError, match="percent_mito"):
        Trainer.load(tmp_path / "model.pt", stranger)
    with pytest.raises(CheckpointError, match="percent_mito"):
        Trainer(**SETTINGS).fit(stranger, other, checkpoint=tmp_path / "run.pt")
    same_again = model(covariates=covariates)
    Trainer.load(tmp_path / "model.pt", same_again)
    assert same(same_again.state_dict(), module.state_dict())


# ---------------------------------------------------------------- another run


def renamed(adata):
    adata.var_names = [f"OTHER{i}" for i in range(adata.n_vars)]


def corrected(adata):
    adata.obs["label"] = np.where(np.arange(53) < 30, "x", "y")


def one_more_label(adata):
    adata.obs["label"] = adata.obs["label"].replace("c", "b")


def swapped_batches(adata):
    adata.obs["batch"] = adata.obs["batch"].map({"one": "two", "two": "one"})


def one_cell_of_another_batch(adata):
    adata.obs.loc["cell-4", "batch"] = "two"


def one_count_more(adata):
    adata.X[3, 0] += 1


@pytest.fixture
def labelled(small):
    """Cells with labels to stratify by, and from two batches."""
    small.obs["label"] = small.obs["group"].astype(str)
    small.obs["batch"] = np.where(np.arange(53) % 2, "two", "one")
    return small


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (renamed, "on other genes: their names"),
        (one_count_more, "on other counts"),
        (corrected, "with other labels"),
        (one_more_label, "with other labels"),
        (swapped_batches, "with other covariates"),
        (one_cell_of_another_batch, "with other covariates"),
    ],
)
def test_a_run_on_changed_cells_is_refused(labelled, tmp_path, monkeypatch, change, words):
    """Else cells that are held out now would have been trained on, and nobody would know."""
    settings = SETTINGS | {"stratify_by": "label"}
    module = model(covariates=Covariates.of(labelled, "batch"))
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        cut_after(3, patch)
        Trainer(**settings).fit(module, labelled, checkpoint=tmp_path / "run.pt")
    before = (tmp_path / "run.pt").read_bytes()
    other = labelled.copy()
    change(other)
    weights = {name: value.clone() for name, value in module.state_dict().items()}
    trainer = Trainer(**settings)
    with pytest.raises(CheckpointError, match=f"a run {words}"):
        trainer.fit(module, other, checkpoint=tmp_path / "run.pt")
    assert same(weights, module.state_dict())
    assert (tmp_path / "run.pt").read_bytes() == before
    assert trainer.history is None and not len(trainer.held_out_cells)


class Doubled(NBVAE):
    """Another loss."""

    def loss(self, *args, **options):
        output = super().loss(*args, **options)
        return output._replace(loss=2 * output.loss)


class Tempered(NBVAE):
    """A loss with a setting."""

    beta = 1.0

    def loss(self, *args, kl_weight=1.0):
        return super().loss(*args, kl_weight=self.beta * kl_weight)


def with_likelihood(module):
    """A likelihood with the same weights."""
    module.likelihood = LIKELIHOODS["poisson"]
    return module


def with_another_loss(module):
    module.loss = lambda *args, **options: NBVAE.loss(module, *args, **options)
    return module


def with_beta(module):
    module.beta = 4.0
    return module


def with_link(module):
    module.decoder.link = LINKS["softmax"]
    return module


def with_tanh(module):
    module.mean_encoder.layers[1] = torch.nn.Tanh()
    return module


@pytest.mark.parametrize(
    ("first", "other", "words"),
    [
        (NBVAE, Doubled, "module is NBVAE there and Doubled here"),
        (NBVAE, lambda *a, **o: with_likelihood(NBVAE(*a, **o)), "_poisson_log_prob"),
        (
            NBVAE,
            lambda *a, **o: with_another_loss(NBVAE(*a, **o)),
            "module.loss is missing there and .*<lambda> here",
        ),
        (NBVAE, lambda *a, **o: with_link(NBVAE(*a, **o)), r"module\.decoder\.link is .* here"),
        (
            NBVAE,
            lambda *a, **o: with_tanh(NBVAE(*a, **o)),
            r"mean_encoder\.layers\.1 is ReLU\(\) there and Tanh\(\) here",
        ),
        (
            Tempered,
            lambda *a, **o: with_beta(Tempered(*a, **o)),
            r"module\.beta is missing there and 4\.0 here",
        ),
    ],
)
def test_a_run_of_another_module_is_refused(small, tmp_path, monkeypatch, first, other, words):
    """Else the weights would fit, and the rest of the run would follow another loss."""
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        cut_after(3, patch)
        Trainer(**SETTINGS).fit(first(12, 2, n_hidden=16), small, checkpoint=tmp_path / "run.pt")
    with pytest.raises(CheckpointError, match=words):
        Trainer(**SETTINGS).fit(other(12, 2, n_hidden=16), small, checkpoint=tmp_path / "run.pt")
    module = first(12, 2, n_hidden=16)
    Trainer(**SETTINGS).fit(module, small, checkpoint=tmp_path / "run.pt")


def test_the_same_counts_from_elsewhere_go_on(small, tmp_path):
    """Else what is the same run would be refused: the layer, the form and the labels are not it."""
    path = tmp_path / "run.pt"
    Trainer(**SETTINGS).fit(model(), small, checkpoint=path)
    other = small.copy()
    other.layers["counts"] = other.X.toarray()
    other.X = other.X * 0.5
    other.obs["group"] = "unused labels may change"
    other.obs_names = [f"renamed-{i}" for i in range(53)]
    Trainer(**SETTINGS).fit(model(), other, layer="counts", checkpoint=path)
    wide = small.copy()
    wide.X.indices, wide.X.indptr = wide.X.indices.astype(np.int64), wide.X.indptr.astype(np.int64)
    Trainer(**SETTINGS).fit(model(), wide, checkpoint=path)


# ---------------------------------------------------------------- all or nothing


ENTRIES = [
    *("settings", "identity", "weights", "covariates", "size_factor_key", "optimizer", "progress")
]


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("wrong", ["missing", 3, {}])
def test_a_run_that_lacks_an_entry_changes_nothing(small, tmp_path, entry, wrong):
    """Else the module would have half of the file in it when the error comes."""
    path = tmp_path / "run.pt"
    Trainer(**SETTINGS).fit(model(), small, checkpoint=path)
    content = files.read(path, "nbvae run 5", "")
    if wrong == "missing":
        del content[entry]
    else:
        content[entry] = wrong
    files.write_atomically(path, content)
    module, trainer = model(), Trainer(**SETTINGS)
    with pytest.raises(CheckpointError, match=r"run\.pt"):
        trainer.fit(module, small, checkpoint=path)
    assert same(module.state_dict(), model().state_dict())
    assert trainer.history is None


def test_a_checkpoint_that_cannot_be_written_is_named_before_the_first_epoch(
    small, tmp_path, monkeypatch
):
    """Else an epoch of an hour would be trained and lost."""

    def too_late(*_):
        raise AssertionError("it was trained")

    monkeypatch.setattr(Trainer, "_train_epoch", too_late)
    fit = partial(Trainer(**SETTINGS).fit, model(), small)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        fit(checkpoint=tmp_path)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        fit(checkpoint="")
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        fit(checkpoint=tmp_path / "missing" / "run.pt")
    with pytest.raises(TypeError, match="a string or a Path, not True"):
        fit(checkpoint=True)
    with pytest.raises(OSError, match="name too long"):
        fit(checkpoint=tmp_path / ("x" * 254))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("entry", ["settings", "history", "train_cells", "stopped", "best_epoch"])
def test_weights_that_lack_an_entry_change_nothing(small, tmp_path, entry):
    """Else the module would be another one, though there is no trainer."""
    trainer, module = Trainer(**SETTINGS), model()
    trainer.fit(module, small)
    trainer.save(tmp_path / "model.pt", module)
    content = files.read(tmp_path / "model.pt", "nbvae checkpoint 5", "")
    del content[entry]
    files.write_atomically(tmp_path / "model.pt", content)
    other = model()
    with pytest.raises(CheckpointError, match=entry):
        Trainer.load(tmp_path / "model.pt", other)
    assert same(other.state_dict(), model().state_dict())


def test_a_failed_fit_leaves_the_trainer_as_it_was(small, tmp_path):
    """Else its history would be of one run, and its held-out cells of another."""
    trainer = Trainer(**SETTINGS)
    trainer.fit(model(), small, checkpoint=tmp_path / "run.pt")
    before = trainer.held_out_cells
    with pytest.raises(CheckpointError, match="other counts"):
        trainer.fit(model(), small[:40].copy(), checkpoint=tmp_path / "run.pt")
    assert trainer.held_out_cells is before


# ---------------------------------------------------------------- genes by name


def reordered(adata):
    return adata[:, ::-1].copy()


def with_other_genes(adata):
    other = adata.copy()
    other.var_names = [f"OTHER{i}" for i in range(adata.n_vars)]
    return other


def test_a_run_goes_on_with_the_same_genes_in_another_order(small, tmp_path, monkeypatch):
    """Else a table that was sorted in between would be taken for another one."""
    expected, module = (NBVAE.for_counts(small, 2, seed=0) for _ in range(2))
    Trainer(**SETTINGS).fit(expected, small)
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        cut_after(3, patch)
        Trainer(**SETTINGS).fit(module, small, checkpoint=tmp_path / "run.pt")
    Trainer(**SETTINGS).fit(module, reordered(small), checkpoint=tmp_path / "run.pt")
    assert same(module.state_dict(), expected.state_dict())


@pytest.mark.parametrize("change", [reordered, with_other_genes])
def test_files_of_a_module_of_other_genes_are_refused(small, tmp_path, change):
    """Else each weight would meet the counts of another gene."""
    trainer, module = Trainer(**SETTINGS), NBVAE.for_counts(small, 2, seed=0)
    trainer.fit(module, small, checkpoint=tmp_path / "run.pt")
    trainer.save(tmp_path / "model.pt", module)
    other = NBVAE.for_counts(change(small), 2, seed=0)
    with pytest.raises(CheckpointError, match="other genes, or of these in another order"):
        Trainer.load(tmp_path / "model.pt", other)
    with pytest.raises(CheckpointError, match="other genes"):
        Trainer(**SETTINGS).fit(other, change(small), checkpoint=tmp_path / "run.pt")
    Trainer.load(tmp_path / "model.pt", NBVAE(12, 2))  # which has no names to compare


class Counting(NBVAE):
    """Counts its own steps, and weights its KL."""

    def __init__(self, weight=1.0):
        super().__init__(12, 2, n_hidden=16)
        self.calls, self.weight = 0, weight

    def forward(self, x, *, kl_weight=1.0, **others):
        self.calls += 1
        return super().forward(x, kl_weight=kl_weight * self.weight, **others)


def test_what_training_itself_changes_is_no_other_module(small, tmp_path, monkeypatch):
    """A module that counts its calls is the one that was cut, whatever it has counted since."""
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        cut_after(2, patch)
        Trainer(**SETTINGS).fit(Counting(), small, checkpoint=tmp_path / "run.pt")
    resumed = Counting()
    resumed.calls = 77
    history = Trainer(**SETTINGS).fit(resumed, small, checkpoint=tmp_path / "run.pt")
    assert len(history) == 6 and resumed.calls > 77


def test_another_weight_of_a_loss_is_another_module(small, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        cut_after(2, patch)
        Trainer(**SETTINGS).fit(Counting(), small, checkpoint=tmp_path / "run.pt")
    with pytest.raises(CheckpointError, match=r"module\.weight is 1\.0 there and 4\.0 here"):
        Trainer(**SETTINGS).fit(Counting(4.0), small, checkpoint=tmp_path / "run.pt")
